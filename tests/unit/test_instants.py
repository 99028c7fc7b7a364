"""Tests for ``marketlake.instants``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.errors import WindowError
from marketlake.instants import (
    OffsetClock,
    Window,
    as_utc,
    ceil_instant,
    floor_instant,
    format_instant,
    from_epoch_ms,
    parse_instant,
    parse_window,
    to_epoch_ms,
    to_epoch_us,
)

instants = st.datetimes(datetime(2010, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def hours(start: int, end: int) -> Window:
    base = datetime(2025, 1, 1, tzinfo=UTC)
    return Window(base + timedelta(hours=start), base + timedelta(hours=end))


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2025-01-31", "2025-01-31T00:00:00Z"),
        ("2025-01-31T06:00:00Z", "2025-01-31T06:00:00Z"),
        ("2025-01-31T06:00:00+02:00", "2025-01-31T04:00:00Z"),
        ("2025-01-31T06:00:00.000006Z", "2025-01-31T06:00:00.000006Z"),
    ],
)
def test_dates_and_instants_are_read_as_utc(text: str, iso: str) -> None:
    assert format_instant(parse_instant(text)) == iso


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2025-13-01", "2025-01-31T06:00:00", "1999-01-01", "0001-01-01T00:00:00+14:00"]
)
def test_unreadable_naive_or_absurd_instants_are_refused_with_the_field_and_value(text: str) -> None:
    with pytest.raises(WindowError, match="start must") as error:
        parse_instant(text, what="start")
    assert repr(text) in str(error.value)


def test_a_naive_datetime_raises() -> None:
    with pytest.raises(ValueError, match="zone-aware"):
        as_utc(datetime(2025, 1, 1))  # noqa: DTZ001 - a naive datetime is the case under test


def test_start_must_be_before_end() -> None:
    with pytest.raises(WindowError, match="start must be before end"):
        parse_window("2025-01-02", "2025-01-02")


def test_a_window_over_ten_years_is_refused() -> None:
    with pytest.raises(WindowError, match="at most 10 years"):
        parse_window("2012-01-01", "2025-01-01")


@given(instants, st.sampled_from([60, 300, 3600, 7200, 86400]))
def test_floor_and_ceil_enclose_the_instant_on_the_grid(instant: datetime, seconds: int) -> None:
    step = timedelta(seconds=seconds)
    low, high = floor_instant(instant, step), ceil_instant(instant, step)
    assert low <= instant <= high
    assert high - low in (timedelta(0), step)
    assert to_epoch_us(low) % (seconds * 1_000_000) == 0


@given(instants)
def test_milliseconds_round_down_and_come_back(instant: datetime) -> None:
    assert timedelta(0) <= instant - from_epoch_ms(to_epoch_ms(instant)) < timedelta(milliseconds=1)


def test_a_window_minus_others_leaves_the_rest_in_order() -> None:
    assert hours(0, 10).minus([hours(8, 12), hours(2, 3), hours(2, 5)]) == [hours(0, 2), hours(5, 8)]
    assert hours(0, 2).minus([hours(0, 2)]) == []


def test_windows_that_only_touch_do_not_overlap() -> None:
    assert hours(0, 2).overlap(hours(2, 3)) is None
    assert hours(0, 2).overlap(hours(1, 3)) == hours(1, 2)


def test_the_offset_clock_tells_machine_time_plus_its_offset() -> None:
    clock = OffsetClock(timedelta(days=-1000))
    assert abs(clock.now() - (datetime.now(UTC) - timedelta(days=1000))) < timedelta(seconds=60)
