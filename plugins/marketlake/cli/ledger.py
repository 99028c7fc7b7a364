"""The ledger: what it knows, its mirror in the lake, and how it is made anew where Postgres was lost or is wrong.

rebuild tells it again from the landing area (sealed manifests and the entries beside them) and from bronze: coverage,
watermarks, loads and verdicts. Every range is then published again by the next run or build.

Examples:
  marketlake ledger show
  marketlake ledger rebuild --dry-run
  marketlake ledger rebuild --yes && marketlake step build
  marketlake ledger mirror
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from marketlake.cli.confirming import add_confirming_arguments, is_confirmed
from marketlake.cli.output import Output
from marketlake.settings import Settings, load_settings

if TYPE_CHECKING:
    import psycopg

_ACTIONS = (
    "show: what the ledger knows and what waits; rebuild: make it anew from landing area and bronze; mirror: write"
    " control.* where its content changed"
)
_MOST_DAMAGED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("show", "rebuild", "mirror"), help=_ACTIONS)
    add_confirming_arguments(parser, ends_runs=True)


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Do the action; 1 where a rebuild could not read everything that the landing area has."""
    from marketlake.cli.parsing import CommandLineError
    from marketlake.ledger import connect

    if arguments.action != "rebuild" and (arguments.dry_run or arguments.yes or arguments.end_runs):
        raise CommandLineError("--dry-run, --yes and --end-runs belong to ledger rebuild")
    settings = load_settings()
    with connect(settings) as connection:
        if arguments.action == "mirror":
            return _mirror(settings, connection, out)
        if arguments.action == "show":
            return _show(connection, out)
        return _rebuild(arguments, settings, connection, out)


def _mirror(settings: Settings, connection: psycopg.Connection, out: Output) -> int:
    from marketlake.ledger.mirror import mirror

    written = mirror(connection, settings.lake_root)
    out.document({"written": written})
    out.table("Mirrored", ["table", "rows"], written.items())
    return 0


def _show(connection: psycopg.Connection, out: Output) -> int:
    from marketlake.recovery.state import ledger_state

    state = ledger_state(connection)
    out.document(state)
    out.say(f"Market: {state['market'] or 'none yet'}")
    out.table("Manifests", ["state", "manifests"], state["manifests"].items())
    out.table("Coverage", ["dataset", "state", "ranges"], ([*row.values()] for row in state["coverage"]))
    out.table("Tables", ["table", "incarnation", "newest known_at"], ([*row.values()] for row in state["tables"]))
    for name in ("loads", "markets", "changes_unpublished", "newest_publication", "built_until"):
        out.say(f"{name.replace('_', ' ')}: {state[name]:,}")
    if state["running"]:
        out.say(f"running: {', '.join(state['running'])}")
    return 0


def _rebuild(arguments: argparse.Namespace, settings: Settings, connection: psycopg.Connection, out: Output) -> int:
    from marketlake.recovery.rebuild import read_landed, rebuild
    from marketlake.recovery.sole_use import running_runs
    from marketlake.recovery.state import ledger_state

    landed, state = read_landed(settings), ledger_state(connection)
    plan: dict[str, Any] = {
        "manifests": len(landed.manifests),
        "entries": len(landed.entries.entries),
        "replaced_loads": state["loads"],
        "replaced_markets": state["markets"],
        "running": running_runs(connection),
        "damaged": list(landed.unreadable),
    }
    out.say(
        f"{plan['manifests']:,} manifests and {plan['entries']:,} entries of {settings.lake_root}/landing replace what"
        f" the ledger says of {plan['replaced_loads']:,} loads in {plan['replaced_markets']:,} markets; then every"
        " range is published again."
    )
    if arguments.dry_run:
        out.document({"dry_run": True, **plan})
    _say_damaged(landed.unreadable, out)
    if not is_confirmed(arguments, out, "Rebuild the ledger?"):
        return 0
    rebuilt = rebuild(settings, connection, ends_runs=arguments.end_runs)
    out.document(asdict(rebuilt))
    counts = {name.replace("_", " "): count for name, count in asdict(rebuilt).items() if name != "damaged"}
    out.table("Rebuilt", ["what", "count"], counts.items())
    if rebuilt.waiting:
        out.say(f"{rebuilt.waiting:,} manifest(s) wait: the next `marketlake run` loads them.")
    out.say("`marketlake step build` publishes every range again and builds; a run does so too.")
    return 1 if rebuilt.damaged else 0


def _say_damaged(damaged: tuple[str, ...], out: Output) -> None:
    for text in damaged[:_MOST_DAMAGED]:
        out.say(f"Damaged: {text}")
    if len(damaged) > _MOST_DAMAGED:
        out.say(f"… and {len(damaged) - _MOST_DAMAGED:,} more")
