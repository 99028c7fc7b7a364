"""Key times of a load on the driver, as ranges: what of each answer is present, rejected, agreed with, new.

A time is eight bytes, so a million keys are cheap to bring here, and cutting them into ranges is one pass of numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake.instants import Window
from marketlake.ledger.answers import EVENT_STEP
from marketlake.timeframes import timeframe_length

Times = npt.NDArray[np.int64]
NONE: Times = np.empty(0, dtype=np.int64)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def step_of(timeframe: str) -> timedelta:
    """Return the length that one key stands for: a candle's, or a minute for events."""
    return timeframe_length(timeframe) if timeframe else EVENT_STEP


def key_times(rows: DataFrame, time_column: str, flags: Sequence[str] = ()) -> pa.Table:
    """Return the rows' `answer_no`, their key time `us` in µs since 1970, and these flags; rows without a time not."""
    placed = rows.where(F.col(time_column).isNotNull())
    return placed.select("answer_no", F.unix_micros(time_column).alias("us"), *flags).toArrow()


def times_by_answer(table: pa.Table, flag: str | None = None) -> dict[int, Times]:
    """Return, per answer number, the sorted distinct key times of its rows, of those with the flag where one is named.

    `table` is as `key_times` returns it.
    """
    if flag is not None:
        table = table.filter(table.column(flag))
    answers, times = table.column("answer_no").to_numpy(), table.column("us").to_numpy()
    if (np.diff(answers) < 0).any():
        order = np.argsort(answers, kind="stable")
        answers, times = answers[order], times[order]
    starts = np.flatnonzero(np.diff(answers, prepend=-1))
    parts = np.split(times, starts[1:]) if starts.size else []
    return {int(number): _distinct(part) for number, part in zip(answers[starts], parts, strict=True)}


def without(times: Times, taken: Times) -> Times:
    """Return the times that are not among the taken ones."""
    return np.setdiff1d(times, taken, assume_unique=True)


def on_grid(times: Times, step: timedelta) -> Times:
    """Return the times that are multiples of `step` since 1970."""
    on_it: Times = times[times % (step // timedelta(microseconds=1)) == 0]
    return on_it


def ranges(times: Times, step: timedelta, *, bridge: timedelta | None = None) -> list[Window]:
    """Return the ranges that the sorted times cover, each from its start for one step, neighbours joined.

    `bridge` joins ranges too that lie no further apart than that.
    """
    if not times.size:
        return []
    step_us = step // timedelta(microseconds=1)
    reach = step_us + (0 if bridge is None else bridge // timedelta(microseconds=1))
    breaks = np.flatnonzero(np.diff(times) > reach)
    starts = times[np.concatenate(([0], breaks + 1))]
    ends = times[np.concatenate((breaks, [times.size - 1]))] + step_us
    return [Window(instant(start), instant(end)) for start, end in zip(starts, ends, strict=True)]


def merged(groups: Iterable[Times]) -> Times:
    """Return the sorted distinct times of all groups."""
    arrays = list(groups)
    return _distinct(np.concatenate(arrays)) if arrays else NONE


def joined_groups(*parts: Mapping[int, list[Window]]) -> dict[int, list[Window]]:
    """Return the windows of all parts by their group."""
    numbers = {number for part in parts for number in part}
    return {number: [window for part in parts for window in part.get(number, [])] for number in sorted(numbers)}


def count(groups: Mapping[int, Times]) -> int:
    """Return how many times the groups have together."""
    return sum(int(times.size) for times in groups.values())


def instants_of(times: Times) -> tuple[datetime | None, datetime | None]:
    """Return the first and the last of sorted times, None where there are none."""
    return (instant(times[0]), instant(times[-1])) if times.size else (None, None)


def instant(microseconds: np.int64 | int) -> datetime:
    """Return the UTC instant of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def _distinct(times: Times) -> Times:
    """Return the sorted distinct times; those of an archive are that already, which costs a hundredth to see."""
    return times if (np.diff(times) > 0).all() else np.unique(times)
