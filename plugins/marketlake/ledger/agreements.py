"""Agreements: per source and range, the last instant at which the source said what we have (design, rule 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import psycopg

from marketlake.instants import Window
from marketlake.ledger.ordered_ranges import not_before

_MARKET = "dataset = %s and exchange = %s and symbol = %s and timeframe = %s and source = %s"


@dataclass(frozen=True)
class Agreement:
    """A source agreed with the values of a range; `agreed_at` is the `received_at` of its answer, UTC."""

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    source: str
    window: Window
    agreed_at: datetime


def record_agreements(cursor: psycopg.Cursor[Any], agreements: Sequence[Agreement]) -> None:
    """Keep, for each instant of each source, the latest agreement; in the caller's transaction."""
    series: dict[tuple[str, ...], list[Agreement]] = {}
    for item in agreements:
        series.setdefault((item.dataset, item.exchange, item.symbol, item.timeframe, item.source), []).append(item)
    for key, new in sorted(series.items(), key=lambda pair: pair[0]):
        cursor.execute(
            "select pg_advisory_xact_lock(hashtext('marketlake.agreements'), hashtext(%s))", ["\x1f".join(key)]
        )
        start, end = min(item.window.start for item in new), max(item.window.end for item in new)
        is_touching = (
            f"{_MARKET} and range_start <= %s and range_end >= %s"
            f" and {not_before('ops.agreements', _MARKET, is_touching=True)}"
        )
        rows = cursor.execute(
            f"delete from ops.agreements where {is_touching} returning range_start, range_end, agreed_at",
            [*key, end, start, *key, start],
        ).fetchall()
        pieces = [(Window(low, high), at) for low, high, at in rows] + [(item.window, item.agreed_at) for item in new]
        cursor.executemany(
            "insert into ops.agreements"
            " (dataset, exchange, symbol, timeframe, source, range_start, range_end, agreed_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [(*key, window.start, window.end, at) for window, at in latest(pieces)],
        )


def agreements_of(
    connection: psycopg.Connection,
    dataset: str,
    exchange: str,
    symbol: str,
    timeframe: str,
    source: str,
    window: Window,
) -> list[Agreement]:
    """Return the agreements that overlap the window, whole, without overlaps among them, in order."""
    market = (dataset, exchange, symbol, timeframe, source)
    rows = connection.execute(
        f"select range_start, range_end, agreed_at from ops.agreements where {_MARKET}"
        f" and range_start < %s and range_end > %s and {not_before('ops.agreements', _MARKET)} order by range_start",
        [*market, window.end, window.start, *market, window.start],
    ).fetchall()
    return [Agreement(*market, Window(start, end), at) for start, end, at in rows]


def latest(pieces: Sequence[tuple[Window, datetime]]) -> list[tuple[Window, datetime]]:
    """Return ranges without overlaps that carry the latest instant of the pieces over them, in order."""
    ordered = sorted(pieces, key=lambda piece: piece[1], reverse=True)
    opening: dict[datetime, list[int]] = {}
    for rank, (window, _) in enumerate(ordered):
        opening.setdefault(window.start, []).append(rank)
    bounds = sorted({*opening, *(window.end for window, _ in pieces)})
    open_ranks = list[int]()
    result = list[tuple[Window, datetime]]()
    for start, end in pairwise(bounds):
        for rank in opening.get(start, ()):
            heappush(open_ranks, rank)
        while open_ranks and ordered[open_ranks[0]][0].end <= start:
            heappop(open_ranks)
        if not open_ranks:
            continue
        at = ordered[open_ranks[0]][1]
        if result and result[-1][1] == at and result[-1][0].end == start:
            start = result.pop()[0].start
        result.append((Window(start, end), at))
    return result
