"""Ranges opened again by hand: what is known of them is revoked, so that the planner wants them like new ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import psycopg

from marketlake.instants import Window, ceil_instant, floor_instant
from marketlake.landing import LandingArea
from marketlake.ledger import Fact, apply_facts, coverage_of, high_watermark, keep_facts, reset_watermark
from marketlake.ledger.facts import RESET, REVOKED, joined
from marketlake.timeframes import timeframe_length


@dataclass(frozen=True)
class Reset:
    """What a reset opens of one market: known ranges inside the bounds, and its high watermark before."""

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    ranges: tuple[Window, ...]
    high_watermark_at: datetime | None

    @property
    def market(self) -> tuple[str, str, str, str]:
        """Dataset, exchange, symbol and timeframe, as the ledger names a series."""
        return self.dataset, self.exchange, self.symbol, self.timeframe


def plan_resets(
    connection: psycopg.Connection, markets: Iterable[tuple[str, str, str, str]], window: Window | None
) -> list[Reset]:
    """Return what would be opened again of each market that has something known inside the window; changes nothing."""
    found = list[Reset]()
    for market in markets:
        bounds = _whole_candles(window, market[3])
        tiles = coverage_of(connection, *market, window=bounds)
        ranges = joined(piece for tile in tiles if (piece := _inside(tile.window, bounds)))
        if ranges:
            found.append(Reset(*market, tuple(ranges), high_watermark(connection, *market)))
    return found


def reset_markets(connection: psycopg.Connection, area: LandingArea, resets: Iterable[Reset], *, run_id: str) -> None:
    """Revoke what is known of the ranges and derive the high watermarks anew; all or nothing."""
    resets = list(resets)
    facts = [
        Fact(*reset.market, window=window, state=REVOKED, cause=RESET) for reset in resets for window in reset.ranges
    ]
    with connection.transaction(), connection.cursor() as cursor:
        apply_facts(cursor, facts, run_id=run_id)
        for reset in resets:
            reset_watermark(connection, *reset.market)
        keep_facts(cursor, area, RESET, facts, run_id=run_id)


def _whole_candles(window: Window | None, timeframe: str) -> Window | None:
    """Return the window widened to whole candles; half of one cannot be fetched."""
    if window is None or not timeframe:
        return window
    step = timeframe_length(timeframe)
    return Window(floor_instant(window.start, step), ceil_instant(window.end, step))


def _inside(tile: Window, window: Window | None) -> Window | None:
    return tile if window is None else tile.overlap(window)
