"""Tests for `spark_jobs.bronze.ranges`: key times as ranges."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from marketlake.instants import to_epoch_us
from spark_jobs.bronze.ranges import NONE, Times, instants_of, merged, on_grid, ranges, step_of, without
from tests.landed import at, window

HOUR = timedelta(hours=1)


def times(*texts: str) -> Times:
    return np.array([to_epoch_us(at(text)) for text in texts], dtype=np.int64)


def test_neighbours_join_and_holes_part() -> None:
    found = ranges(times("2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T03:00"), HOUR)

    assert found == [window("2024-01-01T00:00", "2024-01-01T02:00"), window("2024-01-01T03:00", "2024-01-01T04:00")]


def test_a_bridge_joins_what_lies_close() -> None:
    near_and_far = times("2024-01-01T00:00", "2024-01-01T20:00", "2024-01-05T00:00")

    found = ranges(near_and_far, HOUR, bridge=timedelta(days=1))

    assert found == [window("2024-01-01T00:00", "2024-01-01T21:00"), window("2024-01-05T00:00", "2024-01-05T01:00")]


def test_no_times_cover_nothing() -> None:
    assert ranges(NONE, HOUR) == []
    assert instants_of(NONE) == (None, None)
    assert merged([]).size == 0


def test_times_are_taken_away_and_merged_in_order() -> None:
    some, more = times("2024-01-01T00:00", "2024-01-01T01:00"), times("2024-01-01T01:00", "2024-01-01T02:00")

    assert without(some, more).tolist() == times("2024-01-01T00:00").tolist()
    first, last = instants_of(merged([more, some]))
    assert (first, last) == (at("2024-01-01T00:00"), at("2024-01-01T02:00"))
    assert isinstance(first, datetime)


def test_an_event_stands_for_its_minute() -> None:
    assert (step_of(""), step_of("4h")) == (timedelta(minutes=1), timedelta(hours=4))


def test_times_off_the_grid_are_left_out() -> None:
    some = times("2024-01-01T05:00", "2024-01-01T05:30", "2024-01-01T06:00")

    assert on_grid(some, HOUR).tolist() == times("2024-01-01T05:00", "2024-01-01T06:00").tolist()
