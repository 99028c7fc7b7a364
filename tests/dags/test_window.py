"""Tests for `marketlake_airflow.window`."""

from __future__ import annotations

from types import SimpleNamespace

import pendulum
import pytest

from marketlake.errors import WindowError
from marketlake.instants import Window
from marketlake_airflow.window import HOUR, window_of
from tests.dags.conftest import context_of, instant


def test_the_daily_interval_becomes_the_utc_day_before() -> None:
    assert window_of(context_of()) == Window(instant(1), instant(2))


def test_an_hourly_interval_stays_its_hour() -> None:
    context = context_of(data_interval_start=instant(1, 7), data_interval_end=instant(1, 8))

    assert window_of(context, grain=HOUR) == Window(instant(1, 7), instant(1, 8))


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
