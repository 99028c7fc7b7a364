"""What is there and what is missing, by market: expected and present candles, holes with state, cause and attempts.

Examples:
  marketlake coverage
  marketlake coverage --symbol BTC/USDT --timeframe 1m --start 2021-04-01 --end 2021-05-01
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from marketlake.cli.market_arguments import add_market_arguments, open_ledger
from marketlake.cli.output import Output, share

if TYPE_CHECKING:
    from marketlake.quality.coverage_report import MarketCoverage

_MOST_HOLES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_market_arguments(parser)


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print a line per market and its holes; with --json a list of markets, each with its holes."""
    from marketlake.quality.coverage_report import coverage_report

    with open_ledger(arguments) as (_, connection, wanted):
        markets = coverage_report(connection, wanted)
    out.document(markets)
    show_markets(out, markets)
    return 0


def show_markets(out: Output, markets: list[MarketCoverage]) -> None:
    """Print the markets and the holes that a person should know of."""
    if not markets:
        out.say("nothing was ever asked for here; load something with `marketlake run`")
        return
    columns = ["dataset", "exchange", "symbol", "timeframe", "from", "to", "expected", "present", "coverage", "holes"]
    out.table(
        "Coverage",
        columns,
        (
            [
                *(market.dataset, market.exchange, market.symbol, market.timeframe, market.start, market.end),
                *(market.expected, market.present, share(market.coverage), len(market.holes)),
            ]
            for market in markets
        ),
    )
    holes = [(market, hole) for market in markets for hole in market.holes]
    if not holes:
        return
    shown = holes[:_MOST_HOLES]
    more = f"{len(holes) - len(shown):,} more; `marketlake gaps` lists all" if len(holes) > len(shown) else ""
    out.table(
        "Holes",
        ["symbol", "timeframe", "from", "to", "missing", "state", "cause", "attempts", "asked again"],
        (
            [
                *(market.symbol, market.timeframe, hole.start, hole.end, hole.missing, hole.state, hole.cause),
                *(hole.attempts, hole.retry_at if hole.is_open else "never"),
            ]
            for market, hole in shown
        ),
        note=more,
    )
