"""The arguments of a run, shared by `run`, `plan` and `step open_run`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from marketlake.instants import parse_instant, parse_window

if TYPE_CHECKING:
    from marketlake.pipeline.opening import Opening


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a run can be asked."""
    what = parser.add_argument_group("what")
    what.add_argument("--dataset", action="append", default=[], help="ohlcv, funding_rates or trades, repeatable"
                      " (default: both; ohlcv where --timeframe is given)")  # fmt: skip
    what.add_argument("--exchange", action="append", default=[], help="repeatable (default: those switched on)")
    what.add_argument("--symbol", action="append", default=[], help="BTC/USDT, BTC/USDT:USDT, BTCUSDT, BTC-USDT-PERP;"
                      " repeatable (default: the configured ones)")  # fmt: skip
    what.add_argument("--timeframe", action="append", default=[], help="1m, 5m, 15m, 1h, 4h or 1d; repeatable"
                      " (default: the configured ones)")  # fmt: skip
    what.add_argument("--start", help="first instant: 2025-01-31 or 2025-01-31T06:00:00Z (default: go on from the"
                      " high watermarks)")  # fmt: skip
    what.add_argument("--end", help="first instant after the window (default: now)")
    how = parser.add_argument_group("how")
    how.add_argument("--mode", default="incremental", metavar="MODE",
                     help="incremental (default): what is missing; backfill: the same, kept apart in the ledger;"
                     " force: everything again, changed values become revisions")  # fmt: skip
    how.add_argument("--source", metavar="SOURCE", help="archive or rest: ask only this one, over the whole window")
    how.add_argument("--check-reissued", action="store_true",
                     help="also ask whether loaded archives of the window were replaced")  # fmt: skip


def opening_of(arguments: argparse.Namespace, *, dry_run: bool = False) -> Opening:
    """Return the opening that the arguments describe.

    Raises:
        WindowError: start or end is unreadable or absurd, or start is not before end.
    """
    from marketlake.pipeline.opening import Opening
    from marketlake.pipeline.request import RunRequest

    start = end = None
    if arguments.start is not None:
        start = parse_instant(arguments.start, what="start")
    if arguments.end is not None:
        end = parse_instant(arguments.end, what="end")
    if start is not None and end is not None:
        parse_window(arguments.start, arguments.end)
    request = RunRequest(
        datasets=tuple(arguments.dataset),
        exchanges=tuple(arguments.exchange),
        symbols=tuple(arguments.symbol),
        timeframes=tuple(arguments.timeframe),
        mode=arguments.mode,
        source=arguments.source,
        check_reissued=arguments.check_reissued,
        with_open_holes=getattr(arguments, "with_open_holes", False),
        dry_run=dry_run,
        parent=getattr(arguments, "parent", None),
    )
    return Opening(request, start, end)
