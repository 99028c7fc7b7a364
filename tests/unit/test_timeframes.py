"""Tests for ``marketlake.timeframes``."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from marketlake.errors import UnknownNameError
from marketlake.instants import from_epoch_ms, parse_window
from marketlake.timeframes import TIMEFRAMES, Window, check_timeframe, grid, grid_count, holes, timeframe_length


def test_a_symbol_day_over_the_six_timeframes_is_1855_candles() -> None:
    day = parse_window("2025-01-01", "2025-01-02")
    assert sum(grid_count(day, timeframe) for timeframe in TIMEFRAMES) == 1_855


def test_two_symbols_over_seven_days_are_25970_candles() -> None:
    week = parse_window("2025-01-01", "2025-01-08")
    assert 2 * sum(grid_count(week, timeframe) for timeframe in TIMEFRAMES) == 25_970


def test_an_unknown_timeframe_is_refused_with_the_list() -> None:
    with pytest.raises(UnknownNameError, match="timeframe must be one of 1m, 5m, 15m, 1h, 4h, 1d; was '60'"):
        check_timeframe("60")


@pytest.mark.parametrize("text", ["0m", "1w", "m", "", "-1h"])
def test_a_length_that_is_no_multiple_is_refused(text: str) -> None:
    with pytest.raises(UnknownNameError, match="number and m, h or d"):
        timeframe_length(text)


def test_the_grid_starts_at_the_first_open_time_inside_the_window() -> None:
    window = parse_window("2025-01-01T00:30:00Z", "2025-01-01T03:00:00Z")
    assert [instant.hour for instant in grid(window, "1h")] == [1, 2]
    assert grid_count(window, "1h") == 2


@pytest.mark.parametrize(
    ("path", "timeframe", "missing"),
    [
        ("binance-spot/1m/BTCUSDT-1m-2021-03-26_2021-04-30.csv.gz", "1m", [150, 284]),
        ("binance-spot/1m/ETHUSDT-1m-2021-08-09_2021-09-13.csv.gz", "1m", [270]),
        ("binance-spot/1h/BTCUSDT-1h-2022-01-01_2026-04-30.csv.gz", "1h", [1]),
        ("bybit-linear/1m/ADAUSDT-1m-2024-09-08_2025-09-07.csv.gz", "1m", [801] * 524),
    ],
)
def test_recorded_holes_are_found_exactly(recorded_data: Path, path: str, timeframe: str, missing: list[int]) -> None:
    assert recorded_holes(recorded_data / "klines" / path, timeframe) == missing


def test_the_two_hour_file_misses_53_candles_in_18_holes(recorded_data: Path) -> None:
    path = recorded_data / "klines/binance-spot/2h/BTCUSDT-2h-2017-08-17_2026-04-30.csv.gz"
    found = recorded_holes(path, "2h")
    assert (len(found), sum(found)) == (18, 53)


def recorded_holes(path: Path, timeframe: str) -> list[int]:
    with gzip.open(path, "rt") as lines:
        present = [from_epoch_ms(int(row["open_time"])) for row in csv.DictReader(lines)]
    step = timeframe_length(timeframe)
    return [hole.length // step for hole in holes(Window(present[0], present[-1] + step), timeframe, present)]
