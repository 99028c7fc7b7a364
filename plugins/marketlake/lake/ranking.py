"""The current row of each instant, chosen in NumPy: the order of `marketlake.datasets.current`, for one market's rows.

For datasets whose markets have one key an instant, which are candles and funding rates. Only rows that share their
instant with others are compared, so a market that was hardly restated costs little more than one that never was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from marketlake.datasets.columns import SOURCE_PRECEDENCE

# What the choice needs beside the time column.
RANKING_COLUMNS = ("source", "received_at", "revision", "is_retracted")
_Places = np.ndarray[Any, np.dtype[np.intp]]
_Mask = np.ndarray[Any, np.dtype[np.bool_]]


def current_rows(rows: pl.DataFrame, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return these columns of the current rows in time order: of an instant what ranks first, if not retracted."""
    times = rows.get_column(time_column).to_physical().to_numpy()
    order = None if (times[1:] >= times[:-1]).all() else np.argsort(times, kind="stable")
    if order is not None:
        times = times[order]
    kept = ~_in_order(rows, "is_retracted", order)
    is_first = np.ones(len(times), np.bool_)
    np.not_equal(times[1:], times[:-1], out=is_first[1:])
    if not is_first.all():
        kept &= _best(rows, order, is_first)
    chosen = rows.select(columns)
    if order is not None:
        # Out of one piece of memory each; out of many, taking rows costs several times as much.
        return chosen.rechunk()[order[kept]]
    return chosen if kept.all() else chosen.filter(pl.Series(kept))


def _best(rows: pl.DataFrame, order: _Places | None, is_first: _Mask) -> _Mask:
    """Return which rows, in time order, are alone at their instant or rank first of it."""
    is_shared = ~is_first
    is_shared[:-1] |= ~is_first[1:]
    places = np.flatnonzero(is_shared)
    shared = rows.select(RANKING_COLUMNS)[places if order is None else order[places]]
    starts = np.flatnonzero(is_first[places])
    groups = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(places)))
    is_left = np.ones(len(places), np.bool_)
    for values in (_source_ranks(shared), -_numbers(shared, "received_at"), -_numbers(shared, "revision")):
        least = np.minimum.reduceat(np.where(is_left, values, np.iinfo(np.int64).max), starts)
        is_left &= values == least[groups]
    numbers = np.arange(len(places))
    chosen = np.minimum.reduceat(np.where(is_left, numbers, len(places)), starts)
    best = ~is_shared
    best[places[chosen]] = True
    return best


def _source_ranks(rows: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    ranks = {source: rank for rank, source in enumerate(SOURCE_PRECEDENCE)}
    ranked = rows.get_column("source").replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64)
    return ranked.to_numpy()


def _numbers(rows: pl.DataFrame, column: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    return rows.get_column(column).to_physical().to_numpy()


def _in_order(rows: pl.DataFrame, column: str, order: _Places | None) -> _Mask:
    values: _Mask = rows.get_column(column).to_numpy()
    return values if order is None else values[order]
