"""Candle grids as the exchange has them."""

from datetime import UTC, datetime

import pytest

from marketlake.sandbox.intervals import INTERVALS, next_open, open_of


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("interval", "opened"),
    [
        ("1m", "2025-02-13T17:43"),
        ("15m", "2025-02-13T17:30"),
        ("4h", "2025-02-13T16:00"),
        ("1d", "2025-02-13"),
        ("1w", "2025-02-10"),
        ("1M", "2025-02-01"),
    ],
)
def test_an_instant_falls_into_the_candle_that_opened_last(interval: str, opened: str) -> None:
    assert open_of(interval, ms("2025-02-13T17:43:59")) == ms(opened)


@pytest.mark.parametrize("interval", INTERVALS)
def test_steps_forward_and_back_cancel(interval: str) -> None:
    opened = open_of(interval, ms("2024-12-31T23:59"))
    assert next_open(interval, next_open(interval, opened, 27), -27) == opened
    assert open_of(interval, next_open(interval, opened) - 1) == opened


def test_months_have_their_own_lengths() -> None:
    assert [next_open("1M", ms("2024-01-01"), step) for step in (1, 2, 13, -1)] == [
        ms("2024-02-01"), ms("2024-03-01"), ms("2025-02-01"), ms("2023-12-01"),
    ]  # fmt: skip
