"""Tests for `marketlake_airflow.window`."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from marketlake.errors import WindowError
from marketlake.instants import DAY, Window, floor_instant
from marketlake.ledger import covered_window
from marketlake.timeframes import TIMEFRAMES, timeframe_length
from marketlake_airflow.window import HOUR, window_of
from tests.dags.conftest import context_of, instant


def test_the_daily_interval_becomes_the_utc_day_before() -> None:
    assert window_of(context_of()) == Window(instant(1), instant(2))


def test_an_hourly_interval_stays_its_hour() -> None:
    context = context_of(data_interval_start=instant(1, 7), data_interval_end=instant(1, 8))

    assert window_of(context, grain=HOUR) == Window(instant(1, 7), instant(1, 8))


@pytest.mark.parametrize(
    ("end", "start"),
    [(instant(2, 8), instant(1)), (instant(2), instant(1)), (instant(2, 1), instant(1)), (instant(3), instant(2))],
)
def test_an_hour_that_reaches_back_a_day_begins_at_a_midnight(end: datetime, start: datetime) -> None:
    context = context_of(data_interval_start=end - HOUR, data_interval_end=end)

    assert window_of(context, grain=HOUR, reach=DAY) == Window(start, end)


def test_what_a_person_asks_is_not_stretched_and_neither_is_a_run_without_an_interval() -> None:
    asked = context_of(params={"start": "2025-01-05T06:00Z", "end": "2025-01-05T07:00Z"})
    by_hand = context_of(data_interval_start=instant(2, 1), data_interval_end=instant(2, 1))

    assert window_of(asked, grain=HOUR, reach=DAY) == Window(instant(5, 6), instant(5, 7))
    assert window_of(by_hand, grain=HOUR, reach=DAY) is None


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_the_hourly_run_works_on_every_candle_that_closes_in_its_hour(dags: dict[str, Any], timeframe: str) -> None:
    plan = dags["bronze_ohlcv"].task_dict["plan_fetches"]
    step = timeframe_length(timeframe)
    for hour in range(24):
        end = instant(5, hour)
        context = context_of(data_interval_start=end - HOUR, data_interval_end=end)
        window = window_of(context, grain=plan.grain, reach=plan.reach)
        assert window is not None
        opened = covered_window(window, timeframe)
        newest_closed = Window(floor_instant(end, step) - step, floor_instant(end, step))
        assert opened is not None
        assert opened.overlap(newest_closed) == newest_closed


def test_airflows_own_datetimes_are_taken() -> None:
    context = context_of(
        data_interval_start=pendulum.datetime(2025, 1, 1, 1, tz="UTC"),
        data_interval_end=pendulum.datetime(2025, 1, 2, 1, tz="UTC"),
    )

    assert window_of(context) == Window(instant(1), instant(2))


def test_parameters_win_over_the_interval() -> None:
    context = context_of(params={"start": "2025-01-05", "end": "2025-01-06T12:00:00Z"})

    assert window_of(context) == Window(instant(5), instant(6, 12))


def test_asset_events_win_over_the_interval_and_are_joined() -> None:
    events = [
        SimpleNamespace(extra={"start": "2025-01-03T00:00:00Z", "end": "2025-01-04T00:00:00Z"}),
        SimpleNamespace(extra={"start": "2025-01-07T00:00:00Z", "end": "2025-01-08T00:00:00Z"}),
        SimpleNamespace(extra={}),
    ]

    assert window_of(context_of(triggering_asset_events={"asset": events})) == Window(instant(3), instant(8))


@pytest.mark.parametrize(
    ("start", "end"),
    [pytest.param(None, None, id="no interval"), pytest.param(instant(2, 1), instant(2, 1), id="no width")],
)
def test_without_an_interval_the_watermarks_decide(start: object, end: object) -> None:
    assert window_of(context_of(data_interval_start=start, data_interval_end=end)) is None


@pytest.mark.parametrize(
    ("params", "field"),
    [
        pytest.param({"start": "2025-01-02T01:00Z", "end": None}, "start", id="start at the interval's end"),
        pytest.param({"start": None, "end": "2025-01-02"}, "start", id="no start"),
        pytest.param({"start": "2025-01-02", "end": "2025-01-01"}, "start", id="reversed"),
        pytest.param({"start": "yesterday", "end": "2025-01-01"}, "start", id="unreadable"),
    ],
)
def test_a_bad_window_names_its_field(params: dict[str, str | None], field: str) -> None:
    with pytest.raises(WindowError, match=field):
        window_of(context_of(params=params))
