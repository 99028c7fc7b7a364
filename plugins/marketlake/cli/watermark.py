"""How far each market is settled without a break, and ranges opened again by hand.

reset revokes what is known of the ranges inside the bounds: the next run asks for them like new ones, and its high
watermark starts anew where a break is. Rows that come again equal change nothing.

Examples:
  marketlake watermark show --symbol BTC/USDT
  marketlake watermark reset --symbol BTC/USDT --timeframe 1h --start 2025-01-01 --end 2025-02-01 --dry-run
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from marketlake.cli.confirming import add_confirming_arguments, is_confirmed
from marketlake.cli.market_arguments import add_market_arguments, open_ledger, window_of
from marketlake.cli.output import Output

if TYPE_CHECKING:
    from marketlake.recovery.reset import Reset

_ACTIONS = "show: the high watermarks; reset: open ranges again, so that they are planned like new ones"
_MOST_RANGES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("show", "reset"), help=_ACTIONS)
    add_market_arguments(parser)
    parser.add_argument("--all", action="store_true", help="reset: every market, where none is named")
    add_confirming_arguments(parser)


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print the high watermarks, or say what is reset and do it."""
    return _reset(arguments, out) if arguments.action == "reset" else _show(arguments, out)


def _show(arguments: argparse.Namespace, out: Output) -> int:
    from marketlake.cli.parsing import CommandLineError
    from marketlake.ledger import watermarks

    if arguments.all or arguments.dry_run or arguments.yes:
        raise CommandLineError("--all, --dry-run and --yes belong to watermark reset")
    if window_of(arguments) is not None:
        raise CommandLineError("watermark show takes no --start and --end: a watermark is an instant, not a range")
    with open_ledger(arguments) as (_, connection, wanted):
        found = [
            item
            for item in watermarks(connection)
            if wanted.fits((item.dataset, item.exchange, item.symbol, item.timeframe))
        ]
    out.document(found)
    out.table(
        "High watermarks",
        ["dataset", "exchange", "symbol", "timeframe", "settled until", "last candle", "moved by load", "at"],
        (
            [
                *(item.dataset, item.exchange, item.symbol, item.timeframe, item.high_watermark_at),
                *(item.last_open_time, item.load_id, item.updated_at),
            ]
            for item in found
        ),
    )
    return 0


def _reset(arguments: argparse.Namespace, out: Output) -> int:
    from marketlake.landing import LandingArea
    from marketlake.ledger import markets_covered
    from marketlake.pipeline.opening import new_run_id
    from marketlake.recovery.reset import plan_resets, reset_markets

    _check_bounds(arguments)
    with open_ledger(arguments) as (settings, connection, wanted):
        markets = [market for market in markets_covered(connection) if wanted.fits(market)]
        resets = plan_resets(connection, markets, wanted.window)
        document = {"dry_run": arguments.dry_run, "resets": resets}
        _say(resets, out)
        if not resets or not is_confirmed(arguments, out, f"Reset {len(resets):,} market(s)?"):
            out.document(document)
            return 0
        reset_markets(connection, LandingArea(settings.lake_root), resets, run_id=new_run_id("reset"))
    out.document(document)
    out.say("Reset. The next run over these ranges asks for them again.")
    return 0


def _check_bounds(arguments: argparse.Namespace) -> None:
    """Refuse a reset of everything that was not asked for in so many words."""
    from marketlake.cli.parsing import CommandLineError

    markets = (arguments.dataset, arguments.exchange, arguments.symbol, arguments.timeframe)
    if arguments.all and any(markets):
        raise CommandLineError("--all resets every market; name markets or --all, not both")
    if not arguments.all and not any((*markets, arguments.start, arguments.end)):
        raise CommandLineError("watermark reset needs bounds, such as --symbol BTC/USDT, or --all for every market")


def _say(resets: list[Reset], out: Output) -> None:
    if not resets:
        out.say("Nothing is known inside these bounds: there is nothing to reset.")
        return
    rows = [
        [*reset.market, window.start, window.end, reset.high_watermark_at]
        for reset in resets
        for window in reset.ranges
    ]
    note = f"{len(rows) - _MOST_RANGES:,} more ranges" if len(rows) > _MOST_RANGES else ""
    columns = ["dataset", "exchange", "symbol", "timeframe", "from", "to", "high watermark before"]
    out.table("Asked for again", columns, rows[:_MOST_RANGES], note=note)
