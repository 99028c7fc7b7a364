"""Tests for ``marketlake.planning.sources``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.exchanges.registry import exchange_named
from marketlake.instants import DAY, Window, parse_instant, parse_window
from marketlake.ledger import ArchiveFile, Tile
from marketlake.planning.sources import Archives, rest_windows
from marketlake.planning.wanted import Series
from marketlake.work import Instrument

SPOT = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT")
PERPETUAL = Instrument("binance", "BTC/USDT:USDT", "BTCUSDT", "perpetual", "BTC", "USDT", "USDT")
MINUTE = timedelta(minutes=1)


def archives(
    now: str, *, known: dict[str, ArchiveFile] | None = None, life: str = "2017-08-17", **series: Any
) -> Archives:
    described = {"dataset": OHLCV, "exchange": "binance", "instrument": SPOT, "timeframe": "1m"} | series
    layout = exchange_named("binance").archives
    return Archives(
        Series(**described), layout, lambda _: known or {}, parse_instant(now), parse_window(life, now[:10])
    )


def names(parts: Any) -> list[str]:
    return [part.path.rsplit("/", 1)[1].removeprefix("BTCUSDT-").removesuffix(".zip") for part in parts]


def absent(path: str, checked_at: str) -> dict[str, ArchiveFile]:
    at = parse_instant(checked_at)
    file = ArchiveFile("binance", path, "ohlcv", "BTC/USDT", "BTCUSDT", "1m", at, at, status="absent", checked_at=at)
    return {path: file}


def test_full_past_months_come_as_months_full_past_days_as_days_and_the_rest_by_rest() -> None:
    parts, rest = archives("2025-03-10").split([parse_window("2024-12-30T12:00:00Z", "2025-03-10")])

    months = ["1m-2025-01", "1m-2025-02"]
    days = ["1m-2024-12-31", *(f"1m-2025-03-0{number}" for number in range(1, 9))]
    assert names(parts) == [*months, *days]
    assert rest == [parse_window("2024-12-30T12:00:00Z", "2024-12-31"), parse_window("2025-03-09", "2025-03-10")]


def test_a_month_is_full_from_the_listing_of_its_market_on() -> None:
    parts, rest = archives("2025-03-10", life="2025-01-15").split([parse_window("2025-01-15", "2025-02-01")])

    assert (names(parts), rest) == (["1m-2025-01"], [])


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param("2025-02-01T01:00:00Z", ([], 1), id="nothing is published yet"),
        pytest.param("2025-02-02", (["1m-2025-01-31"], 0), id="the day is, the month is not"),
    ],
)
def test_an_archive_is_not_asked_for_before_it_can_be_published(now: str, expected: tuple[list[str], int]) -> None:
    parts, rest = archives(now).split([parse_window("2025-01-31", "2025-02-01")])

    assert (names(parts), len(rest)) == expected


def test_within_a_week_of_its_end_a_month_comes_as_days() -> None:
    parts, _ = archives("2025-02-05").split([parse_window("2025-01-01", "2025-02-01")])

    assert len(parts) == 31


def test_an_archive_that_was_absent_within_a_day_is_not_asked_for_again() -> None:
    window, path = (
        parse_window("2025-01-31", "2025-02-01"),
        "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-31.zip",
    )

    today, _ = archives("2025-02-05", known=absent(path, "2025-02-04T06:00:00Z")).split([window])
    tomorrow, _ = archives("2025-02-05", known=absent(path, "2025-02-04")).split([window])

    assert (names(today), names(tomorrow)) == ([], ["1m-2025-01-31"])


def test_funding_comes_by_month_and_a_broken_month_by_rest() -> None:
    funding = archives("2025-03-10", dataset=FUNDING_RATES, instrument=PERPETUAL, timeframe="")

    parts, rest = funding.split([parse_window("2025-01-01", "2025-02-10")])

    assert [part.path for part in parts] == [
        "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip"
    ]
    assert rest == [parse_window("2025-02-01", "2025-02-10")]


def hole(start: str, end: str, source: str = "rest", state: str = "pending") -> Tile:
    return Tile(parse_window(start, end), state, source, attempt_days=(date(2025, 1, 4),))


def test_a_hole_goes_to_the_archive_of_its_day_first_and_to_rest_once_that_has_answered() -> None:
    first, no_rest = archives("2025-02-05").split_holes([hole("2025-01-04T02:00:00Z", "2025-01-04T04:30:00Z")])
    second, rest = archives("2025-02-05").split_holes(
        [hole("2025-01-04T02:00:00Z", "2025-01-04T04:30:00Z", source="archive")]
    )

    assert (names(first), first[0].window.length, no_rest) == (["1m-2025-01-04"], timedelta(hours=2.5), [])
    assert (second, rest) == ([], [parse_window("2025-01-04T02:00:00Z", "2025-01-04T04:30:00Z")])


def test_a_hole_of_a_day_that_is_not_published_goes_to_rest() -> None:
    parts, rest = archives("2025-01-05").split_holes([hole("2025-01-04T02:00:00Z", "2025-01-04T04:30:00Z")])

    assert (parts, len(rest)) == ([], 1)


def test_an_archive_that_failed_is_asked_for_again() -> None:
    parts, _ = archives("2025-02-05").split_holes([hole("2025-01-04", "2025-01-05", source="archive", state="failed")])

    assert names(parts) == ["1m-2025-01-04"]


def test_holes_of_one_day_are_one_archive_part_from_the_first_to_the_last() -> None:
    parts, _ = archives("2025-02-05").split_holes(
        [hole("2025-01-04T02:00:00Z", "2025-01-04T03:00:00Z"), hole("2025-01-04T20:00:00Z", "2025-01-04T21:00:00Z")]
    )

    assert [part.window for part in parts] == [parse_window("2025-01-04T02:00:00Z", "2025-01-04T21:00:00Z")]


def test_asked_for_archives_alone_months_and_days_cover_the_window_without_the_running_day() -> None:
    parts = archives("2025-03-02").over(parse_window("2025-01-01", "2025-03-02"))

    assert names(parts) == ["1m-2025-01", "1m-2025-02", "1m-2025-03-01"]


def test_asked_for_archives_alone_a_part_of_a_day_comes_from_the_archive_of_that_day() -> None:
    parts = archives("2025-03-02").over(parse_window("2025-01-05T12:00:00Z", "2025-01-06"))

    assert [(names([part]), part.window.length) for part in parts] == [(["1m-2025-01-05"], timedelta(hours=12))]


@given(st.integers(0, 90), st.integers(1, 90), st.integers(0, 1439))
def test_archives_and_rest_together_are_the_window_and_never_overlap(first: int, length: int, minute: int) -> None:
    start = datetime(2024, 11, 20, tzinfo=UTC) + first * DAY + minute * MINUTE
    window = Window(start, min(start + length * DAY, datetime(2025, 3, 10, tzinfo=UTC)))

    parts, rest = archives("2025-03-10").split([window])

    pieces = sorted([*(part.window for part in parts), *rest])
    assert sum((piece.length for piece in pieces), timedelta(0)) == window.length
    assert window.minus(pieces) == []


# REST ranges ---------------------------------------------------------------------------------------------------------


def minutes(*bounds: tuple[int, int]) -> list[Window]:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    return [Window(start + first * MINUTE, start + last * MINUTE) for first, last in bounds]


def test_holes_within_a_page_of_each_other_are_one_request() -> None:
    holes = minutes((0, 5), (100, 105), (990, 1000), (5000, 5001))

    assert rest_windows(holes, step=MINUTE, page_rows=1000) == minutes((0, 1000), (5000, 5001))


def test_ranges_that_would_take_more_pages_together_stay_apart() -> None:
    assert rest_windows(minutes((0, 1), (2500, 2501)), step=MINUTE, page_rows=1000) == minutes((0, 1), (2500, 2501))


def test_a_long_range_is_cut_into_tasks_of_a_hundred_pages() -> None:
    found = rest_windows(minutes((0, 250_000)), step=MINUTE, page_rows=1000)

    assert found == minutes((0, 100_000), (100_000, 200_000), (200_000, 250_000))


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 3_000)), min_size=1, max_size=12))
def test_joining_never_takes_more_pages_and_never_loses_a_minute(pieces: list[tuple[int, int]]) -> None:
    wanted = minutes(*((first, first + length) for first, length in pieces))
    apart = rest_windows(wanted, step=None, page_rows=1000)

    found = rest_windows(wanted, step=MINUTE, page_rows=1000)

    assert all(window.minus(found) == [] for window in wanted)
    assert pages(found) <= pages(apart)


def pages(windows: list[Window]) -> int:
    return sum(-(-window.length // (1000 * MINUTE)) for window in windows)
