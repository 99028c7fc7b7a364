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
_Numbers = np.ndarray[Any, np.dtype[np.int64]]


def current_rows(rows: pl.DataFrame, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return these columns of the current rows in time order: of an instant what ranks first, if not retracted."""
    times = rows.get_column(time_column).to_physical().to_numpy()
    order = None if (times[1:] >= times[:-1]).all() else np.argsort(times, kind="stable")
    best = _best(rows, times if order is None else times[order], order)
    retracted = rows.get_column("is_retracted")
    if retracted.any():
        best = best[~retracted.to_numpy()[best]]
    chosen = rows.select(columns)
    if order is None and len(best) == len(times):
        return chosen
    # Out of one piece of memory each; out of many, taking rows costs several times as much.
    return chosen.rechunk()[best]


def _best(rows: pl.DataFrame, times: _Numbers, order: _Places | None) -> _Places:
    """Return the places of the rows that rank first of their instants, in time order; `times` are in it."""
    is_first = np.ones(len(times), np.bool_)
    np.not_equal(times[1:], times[:-1], out=is_first[1:])
    best = np.flatnonzero(is_first)
    counts = np.diff(best, append=len(times))
    shared = np.flatnonzero(counts > 1)
    if shared.size:
        starts = np.cumsum(counts[shared]) - counts[shared]
        places = np.arange(counts[shared].sum()) + np.repeat(best[shared] - starts, counts[shared])
        scores = _scores(rows, places if order is None else order[places])
        best[shared] = places[_lowest(scores, starts, counts[shared])]
    return best if order is None else order[best]


def _lowest(scores: _Numbers, starts: _Places, counts: _Places) -> _Places:
    """Return the place of the lowest score of each group, the first of equal ones; no group has less than two."""
    lowest, groups, further = starts.copy(), np.arange(len(starts)), 1
    while groups.size:
        places = starts[groups] + further
        is_lower = scores[places] < scores[lowest[groups]]
        lowest[groups[is_lower]] = places[is_lower]
        further += 1
        groups = groups[counts[groups] > further]
    return lowest


def _scores(rows: pl.DataFrame, places: _Places) -> _Numbers:
    """Return a number for each of these rows, lower for what ranks better: source, then received_at, then revision."""
    received, received_count = _above_lowest(_numbers(rows, "received_at")[places])
    revisions, revision_count = _above_lowest(_numbers(rows, "revision")[places])
    if (len(SOURCE_PRECEDENCE) + 1) * received_count * revision_count > np.iinfo(np.int64).max:
        received, received_count = _counted(received)
        revisions, revision_count = _counted(revisions)
    ranks = _source_ranks(rows.get_column("source"))[places]
    return (ranks * received_count - received) * revision_count - revisions


def _source_ranks(sources: pl.Series) -> _Numbers:
    ranks = np.zeros(len(sources), np.int64)
    is_left = np.ones(len(sources), np.bool_)
    for source in SOURCE_PRECEDENCE:
        is_left &= (sources != source).to_numpy()
        if not is_left.any():
            break
        ranks += is_left
    return ranks


def _above_lowest(values: _Numbers) -> tuple[_Numbers, int]:
    """Return how far above the lowest each is, and how many numbers that may be."""
    lowest = values.min()
    return values - lowest, int(values.max()) - int(lowest) + 1


def _counted(values: _Numbers) -> tuple[_Numbers, int]:
    """Return the place of each among the distinct ones, and how many of those there are."""
    distinct, places = np.unique(values, return_inverse=True)
    return places, len(distinct)


def _numbers(rows: pl.DataFrame, column: str) -> _Numbers:
    return rows.get_column(column).to_physical().to_numpy()
