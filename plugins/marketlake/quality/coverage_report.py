"""What is there and what is missing, by market: expected and present candles, each hole with state, cause, attempts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from marketlake.instants import Window
from marketlake.ledger import MarketFilter, Tile, coverage_of, high_watermark, markets_covered
from marketlake.timeframes import TIMEFRAMES, grid_count

# States of a range that is not there for a reason that lies outside anybody's reach, and counts as no hole.
_NOT_EXPECTED = ("not_listed", "no_trades")


@dataclass(frozen=True)
class Hole:
    """A range that was asked for and is not there; `missing` counts candles, None for events. Instants are UTC."""

    start: datetime
    end: datetime
    missing: int | None
    state: str
    cause: str
    source: str
    attempts: int
    retry_at: datetime | None
    is_open: bool


@dataclass(frozen=True)
class MarketCoverage:
    """Coverage of one market over `[start, end)`, cut to what was ever asked for.

    `expected` and `present` count candles of the timeframe's grid while the market was listed and traded; None for
    events, for which only ranges are known. `coverage` is the present share of the expected, by time for events.
    """

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    start: datetime
    end: datetime
    expected: int | None
    present: int | None
    missing: int | None
    coverage: float | None
    high_watermark_at: datetime | None
    holes: tuple[Hole, ...]


def coverage_report(connection: psycopg.Connection, wanted: MarketFilter | None = None) -> list[MarketCoverage]:
    """Return the coverage of the wanted markets, those never asked for inside the window left out."""
    wanted = wanted or MarketFilter()
    found = (
        _market(connection, market, wanted.window) for market in markets_covered(connection) if wanted.fits(market)
    )
    return sorted((market for market in found if market is not None), key=_place)


def holes_of(tiles: Iterable[Tile], timeframe: str) -> tuple[Hole, ...]:
    """Return the tiles that are holes; neighbours that say the same are one."""
    holes: list[Hole] = []
    for tile in tiles:
        if tile.state == "present" or tile.state in _NOT_EXPECTED:
            continue
        hole = _hole(tile, timeframe)
        if holes and _is_one(holes[-1], hole):
            joined = Window(holes[-1].start, hole.end)
            hole = _hole(Tile(joined, tile.state, tile.source, tile.cause, tile.attempt_days, tile.retry_at), timeframe)
            holes[-1] = hole
        else:
            holes.append(hole)
    return tuple(holes)


def _place(market: MarketCoverage) -> tuple[str, str, str, int]:
    length = TIMEFRAMES.index(market.timeframe) if market.timeframe in TIMEFRAMES else -1
    return market.dataset, market.exchange, market.symbol, length


def _market(
    connection: psycopg.Connection, market: tuple[str, str, str, str], window: Window | None
) -> MarketCoverage | None:
    tiles = _cut(coverage_of(connection, *market, window), window)
    if not tiles:
        return None
    timeframe = market[3]
    present, expected = _amounts(tiles, timeframe)
    is_counted = bool(timeframe)
    return MarketCoverage(
        *market,
        start=tiles[0].window.start,
        end=tiles[-1].window.end,
        expected=round(expected) if is_counted else None,
        present=round(present) if is_counted else None,
        missing=round(expected - present) if is_counted else None,
        coverage=present / expected if expected else None,
        high_watermark_at=high_watermark(connection, *market),
        holes=holes_of(tiles, timeframe),
    )


def _amounts(tiles: Sequence[Tile], timeframe: str) -> tuple[float, float]:
    """Return present and expected: candles, or seconds of an event's dataset."""
    present = expected = 0.0
    for tile in tiles:
        amount = float(grid_count(tile.window, timeframe)) if timeframe else tile.window.length.total_seconds()
        expected += 0 if tile.state in _NOT_EXPECTED else amount
        present += amount if tile.state == "present" else 0
    return present, expected


def _cut(tiles: Sequence[Tile], window: Window | None) -> list[Tile]:
    if window is None:
        return list(tiles)
    pieces = ((tile, tile.window.overlap(window)) for tile in tiles)
    return [
        Tile(piece, tile.state, tile.source, tile.cause, tile.attempt_days, tile.retry_at, tile.load_id)
        for tile, piece in pieces
        if piece is not None
    ]


def _hole(tile: Tile, timeframe: str) -> Hole:
    return Hole(
        start=tile.window.start,
        end=tile.window.end,
        missing=grid_count(tile.window, timeframe) if timeframe else None,
        state=tile.state,
        cause=tile.cause,
        source=tile.source,
        attempts=tile.attempts,
        retry_at=tile.retry_at,
        is_open=not tile.is_settled,
    )


def _is_one(left: Hole, right: Hole) -> bool:
    def said(hole: Hole) -> tuple[object, ...]:
        return hole.state, hole.cause, hole.source, hole.attempts, hole.retry_at

    return left.end == right.start and said(left) == said(right)
