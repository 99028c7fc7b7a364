"""Rejected rows and their reasons.

Examples:
  marketlake dlq list
  marketlake dlq list --symbol BTC/USDT --reason "high < low" --start 2025-03-01 --end 2025-04-01 --json
"""

from __future__ import annotations

import argparse

from marketlake.cli.market_arguments import add_market_arguments, open_ledger
from marketlake.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("list",), help="list: show the rows")
    add_market_arguments(parser)
    parser.add_argument("--reason", help="only rows with this reason, such as 'missing price'")
    parser.add_argument("--run", help="only rows that a load of this run rejected")
    parser.add_argument("--limit", type=int, default=0, help="newest rows to list (default: all)")


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print the rows, newest first; with --json a list of them with their raw payload."""
    from marketlake.ledger import run_named
    from marketlake.quality.dead_letters import DeadLetterFilter, check_reason, dead_letters, reason_counts

    with open_ledger(arguments) as (settings, connection, market):
        if arguments.run is not None:
            run_named(connection, arguments.run)
        wanted = DeadLetterFilter(market, arguments.reason, arguments.run, arguments.limit or None)
        rows = dead_letters(connection, settings.lake_root, wanted)
        if not rows and arguments.reason is not None:
            check_reason(dead_letters(connection, settings.lake_root), arguments.reason)
    out.document(rows)
    out.table(
        "Rejected rows",
        ["exchange", "symbol", "timeframe", "time", "reasons", "status", "seen", "source_ref", "payload"],
        (
            [
                *(row["exchange"], row["symbol"], row["timeframe"], row["time"], row["dlq_reasons"], row["status"]),
                *(row["last_seen_at"], row["source_ref"], str(row["raw_payload"] or "")[:60]),
            ]
            for row in rows
        ),
    )
    out.table("By reason", ["reason", "rows"], reason_counts(rows).items())
    return 0
