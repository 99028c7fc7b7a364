"""ING-34: the deviation of the clocks and what a run makes of it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from marketlake.errors import SetupError
from marketlake.exchanges.clock import ClockReading, measure_clock, run_offset
from marketlake.exchanges.protocol import ServerTime
from marketlake.instants import parse_instant
from marketlake.settings import ClockSettings

NOON = parse_instant("2025-02-20T12:00:00Z")


class ClientAt:
    def __init__(self, instant: datetime, market: str = "live") -> None:
        self._time = ServerTime(instant, market, NOON, NOON + timedelta(seconds=2))

    def server_time(self) -> ServerTime:
        return self._time


def reading(seconds: float) -> ClockReading:
    return ClockReading(timedelta(seconds=seconds), "live", NOON)


def test_the_deviation_is_local_minus_exchange_at_the_middle_of_the_request() -> None:
    measured = measure_clock(ClientAt(NOON - timedelta(seconds=4), "recorded"))  # type: ignore[arg-type]

    assert (measured.deviation, measured.market) == (timedelta(seconds=5), "recorded")


@pytest.mark.parametrize(("seconds", "warnings"), [(0.5, 0), (-0.5, 0), (2, 1), (-29, 1)])
def test_a_local_clock_is_followed_and_a_deviation_over_a_second_is_warned_of(
    seconds: float, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert run_offset(reading(seconds), ClockSettings()) == timedelta(0)

    assert len(caplog.records) == warnings


@pytest.mark.parametrize("seconds", [31, -3600])
def test_a_deviation_over_thirty_seconds_stops_the_run_with_advice(seconds: float) -> None:
    with pytest.raises(SetupError, match=r"Synchronise the time .* or set clock.source to exchange"):
        run_offset(reading(seconds), ClockSettings())


def test_the_exchanges_clock_is_taken_over_as_an_offset() -> None:
    assert run_offset(reading(3600), ClockSettings(source="exchange")) == timedelta(seconds=-3600)
