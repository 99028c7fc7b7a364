"""Each hole that was ever found: its range, missing candles, cause, and whether it is open, closed or unfillable.

Examples:
  marketlake gaps --symbol BTC/USDT --timeframe 1m
  marketlake gaps --status open --json
"""

from __future__ import annotations

import argparse

from marketlake.cli.market_arguments import add_market_arguments, open_ledger
from marketlake.cli.output import Output

STATUSES = ("open", "repairing", "closed", "unfillable")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_market_arguments(parser)
    parser.add_argument("--status", action="append", choices=STATUSES, help="repeatable (default: all)")


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print a line per hole; with --json a list of them."""
    from marketlake.ledger import gaps

    with open_ledger(arguments) as (_, connection, wanted):
        found = gaps(connection, wanted, statuses=arguments.status)
    out.document(found)
    out.table(
        "Gaps",
        ["dataset", "exchange", "symbol", "timeframe", "from", "to", "missing", "cause", "status", "evidence"],
        (
            [
                *(gap.dataset, gap.exchange, gap.symbol, gap.timeframe, gap.gap_start, gap.gap_end),
                *(gap.missing_count, gap.cause, gap.status, _evidence(gap.evidence)),
            ]
            for gap in found
        ),
    )
    out.say(f"{len(found):,} hole(s)")
    return 0


def _evidence(evidence: dict[str, object]) -> str:
    attempts = evidence.get("attempts")
    parts = [evidence.get("cause"), evidence.get("source"), f"{attempts} attempt(s)" if attempts else None]
    return ", ".join(str(part) for part in parts if part)
