"""The lake's tables and their history.

Examples:
  marketlake tables list
  marketlake tables history bronze.ohlcv
  marketlake tables history raw_funding_rates --json
"""

from __future__ import annotations

import argparse

from marketlake.cli.output import Output
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("list", "history"), help="list: all tables; history: versions of one")
    parser.add_argument("table", nargs="?", help="such as bronze.ohlcv, ohlcv or raw_market_data_1h")
    parser.add_argument("--limit", type=int, default=20, help="newest versions to show (default 20; 0 = all)")


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print the tables, or a table's versions, newest first."""
    root = load_settings().lake_root
    return _history(root, arguments, out) if arguments.action == "history" else _list(root, out)


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
    from marketlake.cli.parsing import CommandLineError
    from marketlake.lake.tables import get_table_history, table_named

    if arguments.table is None:
        raise CommandLineError(
            "tables history needs a table, such as bronze.ohlcv; `marketlake tables list` names them"
        )
    history = get_table_history(root, arguments.table)
    if arguments.limit:
        history = history[: arguments.limit]
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


def _rows(entry: dict[str, object]) -> int | None:
    metrics = entry["operationMetrics"]
    assert isinstance(metrics, dict)
    value = metrics.get("numOutputRows", metrics.get("num_added_rows"))
    return None if value is None else int(value)
