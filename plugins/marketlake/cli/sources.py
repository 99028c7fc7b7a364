"""Where two sources of one exchange differ: both values, and whose is current.

A difference is found when rows of a second source are loaded over a range; equal rows are not listed.

Examples:
  marketlake sources
  marketlake sources --symbol BTC/USDT --timeframe 1h --start 2025-01-01 --end 2025-02-01 --json
"""

from __future__ import annotations

import argparse

from marketlake.cli.market_arguments import add_market_arguments, open_ledger
from marketlake.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_market_arguments(parser)


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print a line per value that differs; with --json a list of them."""
    from marketlake.ledger.disagreements import disagreements_of

    with open_ledger(arguments) as (_, connection, wanted):
        found = disagreements_of(connection, wanted)
    out.document(found)
    market = ["dataset", "exchange", "symbol", "timeframe", "time", "field"]
    out.table(
        "Differences",
        [*market, "source", "value", "other", "its value", "current"],
        (
            [
                *(item.dataset, item.exchange, item.symbol, item.timeframe, item.key_at, item.field, item.source),
                *(item.value, item.other_source, item.other_value, item.chosen_source),
            ]
            for item in found
        ),
    )
    out.say(f"{len(found):,} difference(s)")
    return 0
