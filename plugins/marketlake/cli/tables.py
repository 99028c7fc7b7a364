"""The lake's tables, their history, and bronze tables put back to an earlier version.

restore makes a new incarnation of the table: what its lost loads had told is open again, and the next run loads their
manifests from the landing area once more.

Examples:
  marketlake tables list
  marketlake tables history bronze.ohlcv
  marketlake tables history raw_funding_rates --json
  marketlake tables restore bronze.ohlcv --version 12 --dry-run
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from marketlake.cli.confirming import add_confirming_arguments, is_confirmed
from marketlake.cli.output import Output
from marketlake.settings import Settings, load_settings

_ACTIONS = "list: all tables; history: versions of one; restore: put a bronze table back to one of them"
_NEWEST = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("list", "history", "restore"), help=_ACTIONS)
    parser.add_argument("table", nargs="?", help="such as bronze.ohlcv, ohlcv or raw_market_data_1h")
    parser.add_argument("--limit", type=int, help="history: newest versions to show (default 20; 0 = all)")
    parser.add_argument("--version", type=int, help="restore: the version to put back")
    parser.add_argument("--timestamp", help="restore: the instant to go back to, by the table's history")
    add_confirming_arguments(parser, ends_runs=True)


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print the tables, or a table's versions, newest first, or put one back."""
    _check_arguments(arguments)
    settings = load_settings()
    if arguments.action == "restore":
        return _restore(settings, arguments, out)
    root = settings.lake_root
    return _history(root, arguments, out) if arguments.action == "history" else _list(root, out)


def _check_arguments(arguments: argparse.Namespace) -> None:
    from marketlake.cli.parsing import CommandLineError

    action = arguments.action
    if action != "list" and arguments.table is None:
        raise CommandLineError(
            f"tables {action} needs a table, such as bronze.ohlcv; `marketlake tables list` names them"
        )
    if action == "list" and arguments.table is not None:
        raise CommandLineError(f"tables list takes no table; was {arguments.table!r}")
    if action != "history" and arguments.limit is not None:
        raise CommandLineError("--limit belongs to tables history")
    if arguments.limit is not None and arguments.limit < 0:
        raise CommandLineError(f"--limit must be 0 (all) or more; was {arguments.limit}")
    given = (arguments.version is not None, arguments.timestamp is not None)
    if action == "restore" and sum(given) != 1:
        raise CommandLineError(
            "tables restore needs either --version or --timestamp;"
            f" `marketlake tables history {arguments.table}` shows both"
        )
    if action != "restore" and (any(given) or arguments.dry_run or arguments.yes or arguments.end_runs):
        raise CommandLineError("--version, --timestamp, --dry-run, --yes and --end-runs belong to tables restore")


def _list(root: str, out: Output) -> int:
    from marketlake.lake.files import files_of, open_table, table_names

    found = [files_of(open_table(root, name), name, []) for name in table_names(root)]
    rows = [
        {
            "table": table.name,
            "version": table.version,
            "files": len(table.files),
            "rows": sum(file.rows for file in table.files),
            "bytes": sum(file.bytes for file in table.files),
        }
        for table in found
    ]
    out.document(rows)
    out.table(f"Tables of {root}", ["table", "version", "files", "rows", "bytes"], (list(row.values()) for row in rows))
    return 0


def _history(root: str, arguments: argparse.Namespace, out: Output) -> int:
    from marketlake.lake.tables import get_table_history, table_named

    history = get_table_history(root, arguments.table)
    if (limit := _NEWEST if arguments.limit is None else arguments.limit) > 0:
        history = history[:limit]
    out.document(history)
    out.table(
        f"History of {table_named(root, arguments.table)}",
        ["version", "timestamp", "operation", "rows", "run"],
        (
            [entry["version"], entry["timestamp"], entry["operation"], _rows(entry), entry["run_id"]]
            for entry in history
        ),
    )
    return 0


def _restore(settings: Settings, arguments: argparse.Namespace, out: Output) -> int:
    from marketlake.instants import parse_instant
    from marketlake.lake.tables import table_named, version_at
    from marketlake.ledger import connect
    from marketlake.pipeline.opening import new_run_id
    from marketlake.recovery.restore import dataset_of_table, plan_restore, restore

    name = table_named(settings.lake_root, arguments.table)
    dataset = dataset_of_table(name)
    version = arguments.version
    if version is None:
        version = version_at(settings.lake_root, name, parse_instant(arguments.timestamp, what="--timestamp"))
    with connect(settings) as connection:
        planned = plan_restore(settings, connection, dataset, version)
        out.say(
            f"{name} goes back from version {planned.from_version} to {planned.to_version}: {len(planned.lost):,}"
            f" load(s) with {planned.lost_rows:,} rows are undone; the next run loads their {planned.manifests:,}"
            " manifest(s) from the landing area again."
        )
        document = {"dry_run": arguments.dry_run, **asdict(planned), "lost": sorted(planned.lost)}
        if is_confirmed(arguments, out, f"Restore {name}?"):
            done = restore(
                settings, connection, dataset, version, run_id=new_run_id("restore"), ends_runs=arguments.end_runs
            )
            out.say("Restored. `marketlake run` loads what it lost, and publishes.")
            document = {"dry_run": False, **asdict(done), "lost": sorted(done.lost)}
    out.document(document)
    return 0


def _rows(entry: dict[str, object]) -> int | None:
    metrics = entry["operationMetrics"]
    assert isinstance(metrics, dict)
    value = metrics.get("numOutputRows", metrics.get("num_added_rows"))
    return None if value is None else int(value)
