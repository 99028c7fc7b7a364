"""Coverage in the database: facts appended, tiles and high watermarks derived in the same transaction (LAKE-15)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from marketlake.instants import Window
from marketlake.ledger.facts import REVOKED, Fact, Tile, gaps_found_and_filled, joined, merge, settled_until
from marketlake.ledger.market_filter import MarketFilter
from marketlake.ledger.ordered_ranges import not_before
from marketlake.timeframes import timeframe_length

_TILE_COLUMNS = "range_start, range_end, state, source, cause, attempt_days, retry_at, load_id"
_MARKET = "dataset = %s and exchange = %s and symbol = %s and timeframe = %s"
_Market = tuple[str, str, str, str]
_MANY_FACTS = 500


@dataclass(frozen=True)
class Gap:
    """One row of `ops.coverage_gaps`; `status` is open, repairing, closed or unfillable; no count for events."""

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    gap_start: datetime
    gap_end: datetime
    missing_count: int | None
    cause: str
    status: str
    detected_at: datetime
    repaired_at: datetime | None
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Watermark:
    """One row of `ops.ingest_watermarks`: everything closed before `high_watermark_at` is settled."""

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    high_watermark_at: datetime
    last_open_time: datetime | None
    load_id: str | None
    updated_at: datetime


def apply_facts(cursor: psycopg.Cursor[Any], facts: Sequence[Fact], *, run_id: str, load_id: str | None = None) -> None:
    """Append the facts and derive tiles, quality log and, for a load, high watermarks; in the caller's transaction.

    Markets are locked in the order of their names, so that two callers never wait for each other.
    """
    by_market: dict[_Market, list[Fact]] = {}
    for fact in facts:
        by_market.setdefault(fact.market, []).append(fact)
    for market in sorted(by_market):
        _lock(cursor, market)
        _append_facts(cursor, by_market[market], run_id, load_id)
        _derive_tiles(cursor, market, by_market[market], run_id, load_id)
        if load_id is not None:
            _advance(cursor, market, load_id)
    if len(facts) >= _MANY_FACTS:
        # The views' plans are quadratic for a table that the planner still believes to be empty.
        cursor.execute("analyze ops.coverage_facts, ops.coverage")


def coverage_of(
    connection: psycopg.Connection,
    dataset: str,
    exchange: str,
    symbol: str,
    timeframe: str,
    window: Window | None = None,
) -> list[Tile]:
    """Return the market's tiles that overlap the window (all without one), whole, in order; gaps were never asked."""
    with connection.cursor() as cursor:
        return _tiles(cursor, (dataset, exchange, symbol, timeframe), window)


def facts_without(
    cursor: psycopg.Cursor[Any], market: _Market, windows: Sequence[Window], *, load_ids: Sequence[str]
) -> list[tuple[str | None, Fact]]:
    """Return what was told about these windows of a market by none of the loads, cut to them and to what none of the
    others revoked since; each with its load, in the order in which it was told."""
    rows = cursor.execute(
        "select load_id, range_start, range_end, state, source, cause, attempt_day, retry_at, settles_after"
        f" from ops.coverage_facts where {_MARKET} and range_start < %s and range_end > %s"
        " and (load_id is null or load_id <> all(%s)) order by fact_id desc",
        [*market, max(window.end for window in windows), min(window.start for window in windows), list(load_ids)],
    )
    told, revoked = list[tuple[str | None, Fact]](), list[Window]()
    for load_id, start, end, *what in rows:
        fact = Fact(*market, Window(start, end), *what)
        pieces = [both for window in windows if (both := window.overlap(fact.window))]
        if fact.state == REVOKED:
            revoked = joined([*revoked, *pieces])
        else:
            told += [(load_id, replace(fact, window=left)) for piece in pieces for left in piece.minus(revoked)]
    return told[::-1]


def open_tiles(
    connection: psycopg.Connection, dataset: str, exchange: str, symbol: str, timeframe: str, *, before: datetime
) -> list[Tile]:
    """Return the market's tiles that are not settled and begin before an instant, in order."""
    rows = connection.execute(
        f"select {_TILE_COLUMNS} from ops.coverage where {_MARKET} and range_start < %s"
        " and state in ('pending', 'failed', 'rejected') order by range_start",
        [dataset, exchange, symbol, timeframe, before],
    ).fetchall()
    return [tile for row in rows if not (tile := _tile(row)).is_settled]


def high_watermark(
    connection: psycopg.Connection, dataset: str, exchange: str, symbol: str, timeframe: str
) -> datetime | None:
    """Return the market's high watermark, exclusive, UTC; None before anything is settled by a load."""
    row = connection.execute(
        f"select high_watermark_at from ops.markets where {_MARKET}", [dataset, exchange, symbol, timeframe]
    ).fetchone()
    return row[0] if row else None


def watermarks(connection: psycopg.Connection) -> list[Watermark]:
    """Return the high watermarks of all markets."""
    with connection.cursor(row_factory=class_row(Watermark)) as cursor:
        return cursor.execute(
            "select dataset, exchange, symbol, timeframe, high_watermark_at, last_open_time, load_id, updated_at"
            " from ops.ingest_watermarks order by dataset, exchange, symbol, timeframe"
        ).fetchall()


def reset_watermark(connection: psycopg.Connection, dataset: str, exchange: str, symbol: str, timeframe: str) -> None:
    """Forget the high watermark and derive it again from the tiles; for a table that was restored."""
    market = (dataset, exchange, symbol, timeframe)
    with connection.transaction(), connection.cursor() as cursor:
        _lock(cursor, market)
        cursor.execute(f"update ops.markets set high_watermark_at = null where {_MARKET}", market)
        _advance(cursor, market, None)


def gaps(
    connection: psycopg.Connection, wanted: MarketFilter | None = None, *, statuses: Iterable[str] | None = None
) -> list[Gap]:
    """Return the holes that were ever found of the wanted markets, by market and start (QUA-21)."""
    where, parameters = (wanted or MarketFilter()).sql(start="gap_start", end="gap_end")
    with connection.cursor(row_factory=class_row(Gap)) as cursor:
        return cursor.execute(
            f"select * from ops.coverage_gaps where {where}"
            " and (%(statuses)s::text[] is null or status = any(%(statuses)s))"
            " order by dataset, exchange, symbol, timeframe, gap_start",
            parameters | {"statuses": list(statuses) if statuses is not None else None},
        ).fetchall()


def markets_covered(connection: psycopg.Connection) -> list[_Market]:
    """Return dataset, exchange, symbol and timeframe of every market that the ledger knows."""
    return connection.execute(
        "select dataset, exchange, symbol, timeframe from ops.markets order by dataset, exchange, symbol, timeframe"
    ).fetchall()


def _lock(cursor: psycopg.Cursor[Any], market: _Market) -> None:
    cursor.execute(
        "insert into ops.markets (dataset, exchange, symbol, timeframe) values (%s, %s, %s, %s) on conflict do nothing",
        market,
    )
    cursor.execute(f"select 1 from ops.markets where {_MARKET} for update", market)


def _append_facts(cursor: psycopg.Cursor[Any], facts: Sequence[Fact], run_id: str, load_id: str | None) -> None:
    with cursor.copy(
        "copy ops.coverage_facts (dataset, exchange, symbol, timeframe, range_start, range_end, state, source, cause,"
        " attempt_day, retry_at, settles_after, load_id, run_id) from stdin"
    ) as copy:
        for fact in facts:
            bounds = (fact.window.start, fact.window.end)
            what = (fact.state, fact.source, fact.cause, fact.attempt_day, fact.retry_at, fact.settles_after)
            copy.write_row((*fact.market, *bounds, *what, load_id, run_id))


def _derive_tiles(
    cursor: psycopg.Cursor[Any], market: _Market, facts: Sequence[Fact], run_id: str, load_id: str | None
) -> None:
    # Neighbours that only touch are read too, so that equal tiles are joined.
    start, end = min(fact.window.start for fact in facts), max(fact.window.end for fact in facts)
    before = _tiles(cursor, market, Window(start, end), is_touching=True)
    after = merge(before, facts, load_id=load_id)
    kept = {(tile, tile.load_id) for tile in before} & {(tile, tile.load_id) for tile in after}
    gone = [tile.window.start for tile in before if (tile, tile.load_id) not in kept]
    cursor.execute(f"delete from ops.coverage where {_MARKET} and range_start = any(%s)", [*market, gone])
    with cursor.copy(
        "copy ops.coverage (dataset, exchange, symbol, timeframe, range_start, range_end, state, source, cause,"
        " attempts, attempt_days, retry_at, load_id, run_id) from stdin"
    ) as copy:
        for tile in after:
            if (tile, tile.load_id) in kept:
                continue
            what = (tile.state, tile.source, tile.cause, tile.attempts, list(tile.attempt_days), tile.retry_at)
            copy.write_row((*market, tile.window.start, tile.window.end, *what, tile.load_id, run_id))
    _log_gaps(cursor, market, *gaps_found_and_filled(before, after))


def _log_gaps(cursor: psycopg.Cursor[Any], market: _Market, found: Sequence[Window], filled: Sequence[Window]) -> None:
    dataset, exchange, symbol, timeframe = market
    details = json.dumps({"dataset": dataset})
    step = timeframe_length(timeframe) if timeframe else None
    with cursor.copy(
        "copy ops.data_quality_logs"
        " (event_type, exchange, symbol, timeframe, gap_start, gap_end, candles_missing, details) from stdin"
    ) as copy:
        for event, windows in (("gap_detected", found), ("gap_filled", filled)):
            for gap in windows:
                missing = gap.length // step if step else None
                copy.write_row((event, exchange, symbol, timeframe, gap.start, gap.end, missing, details))


def _advance(cursor: psycopg.Cursor[Any], market: _Market, load_id: str | None) -> None:
    """Move the high watermark to the end of the settled range that goes on from it; never back."""
    row = cursor.execute(f"select high_watermark_at from ops.markets where {_MARKET}", market).fetchone()
    reached = row[0] if row else None
    rows = cursor.execute(
        f"select {_TILE_COLUMNS} from ops.coverage where {_MARKET}"
        " and range_end > coalesce(%s, '-infinity'::timestamptz)"
        f" and {not_before('ops.coverage', _MARKET)} order by range_start",
        [*market, reached, *market, reached],
    )
    tiles = [_tile(row) for row in rows]
    if not tiles:
        return
    start = reached or tiles[0].window.start
    moved = settled_until(tiles, start)
    if moved > start:
        cursor.execute(
            "update ops.markets set high_watermark_at = %s, load_id = %s, updated_at = clock_timestamp()"
            f" where {_MARKET}",
            [moved, load_id, *market],
        )


def _tiles(
    cursor: psycopg.Cursor[Any], market: _Market, window: Window | None, *, is_touching: bool = False
) -> list[Tile]:
    if window is None:
        where, bounds = "", list[object]()
    else:
        where = (
            " and range_start <= %s and range_end >= %s" if is_touching else " and range_start < %s and range_end > %s"
        )
        where += f" and {not_before('ops.coverage', _MARKET, is_touching=is_touching)}"
        bounds = [window.end, window.start, *market, window.start]
    rows = cursor.execute(
        f"select {_TILE_COLUMNS} from ops.coverage where {_MARKET}{where} order by range_start", [*market, *bounds]
    )
    return [_tile(row) for row in rows]


def _tile(row: tuple[Any, ...]) -> Tile:
    start, end, state, source, cause, days, retry_at, load_id = row
    return Tile(Window(start, end), state, source, cause, tuple(days), retry_at, load_id)
