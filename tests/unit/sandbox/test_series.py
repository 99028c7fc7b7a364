"""Candles of longer intervals: the 1m candles summed, the open one as far as it has come."""

import numpy as np
import pytest

from marketlake.sandbox.intervals import INTERVALS, next_open, open_of
from marketlake.sandbox.listings import DAY_MS, SPOT, synthetic_listings
from marketlake.sandbox.series import Series
from marketlake.sandbox.tape import BAR_FIELDS, MINUTE_MS, MinuteBars, Tape

LISTING = synthetic_listings(0)[SPOT]["ETHUSDT"]
QUIET = synthetic_listings(0)[SPOT]["XRPETH"]
NOW = 1_738_411_231_457  # 2025-02-01 12:00:31.457


@pytest.fixture(scope="module")
def series() -> Series:
    return Series(Tape(7, LISTING))


def summed(bars: MinuteBars) -> tuple[int, ...]:
    return (
        int(bars.open[0]), int(bars.high.max()), int(bars.low.min()), int(bars.close[-1]), int(bars.volume.sum()),
        int(bars.quote.sum()), int(bars.count.sum()), int(bars.taker_volume.sum()), int(bars.taker_quote.sum()),
    )  # fmt: skip


def row(bars: MinuteBars, index: int) -> tuple[int, ...]:
    return tuple(int(getattr(bars, name)[index]) for name in BAR_FIELDS[1:])


@pytest.mark.parametrize("interval", [one for one in INTERVALS if one != "1m"])
def test_a_candle_is_the_sum_of_its_minutes(series: Series, interval: str) -> None:
    opened = open_of(interval, NOW - 70 * DAY_MS)
    candles = series.candles(interval, opened, next_open(interval, opened, 2), NOW)
    assert (candles.minute * MINUTE_MS).tolist() == [opened, next_open(interval, opened)]
    for index in range(2):
        start, end = next_open(interval, opened, index), next_open(interval, opened, index + 1)
        assert row(candles, index) == summed(series.candles("1m", start, end, NOW))


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_open_candle_holds_what_was_traded_so_far(series: Series, interval: str) -> None:
    opened = open_of(interval, NOW)
    candle = series.candles(interval, opened, next_open(interval, opened), NOW)
    fills = series.tape.fills(opened // MINUTE_MS, NOW // MINUTE_MS + 1)
    so_far = fills.time_us // 1000 <= NOW
    assert len(candle.minute) == 1
    assert candle.volume[0] == fills.amount[so_far].sum()
    assert candle.close[0] == fills.price[so_far][-1]
    assert candle.high[0] == fills.price[so_far].max()


def test_nothing_opens_after_now(series: Series) -> None:
    candles = series.candles("1m", NOW - 10 * MINUTE_MS, NOW + 100 * MINUTE_MS, NOW)
    assert candles.minute[-1] == NOW // MINUTE_MS


def test_a_minute_that_has_no_trade_yet_shows_the_close_before_it(series: Series) -> None:
    minute = NOW // MINUTE_MS
    first = int(series.tape.fills(minute, minute + 1).time_us[0] // 1000)
    candle = series.candles("1m", minute * MINUTE_MS, (minute + 1) * MINUTE_MS, first - 1)
    before = series.candles("1m", (minute - 1) * MINUTE_MS, minute * MINUTE_MS, NOW)
    close = int(before.close[0])
    assert row(candle, 0) == (close, close, close, close, 0, 0, 0, 0, 0)


def test_nothing_is_known_before_the_listing_and_its_first_trade(series: Series) -> None:
    listed = LISTING.listed_ms
    first = int(series.tape.fills(listed // MINUTE_MS, listed // MINUTE_MS + 1).time_us[0] // 1000)
    assert not len(series.candles("1h", 0, listed + DAY_MS, listed - 1).minute)
    assert not len(series.candles("1h", 0, listed + DAY_MS, first - 1).minute)
    assert len(series.candles("1h", 0, listed + DAY_MS, first).minute) == 1


def test_the_first_day_begins_with_the_listing(series: Series) -> None:
    day = series.candles("1d", 0, LISTING.listed_ms + 1, NOW)
    assert (day.minute * MINUTE_MS).tolist() == [open_of("1d", LISTING.listed_ms)]
    minutes = series.candles("1m", LISTING.listed_ms, open_of("1d", LISTING.listed_ms) + DAY_MS, NOW)
    assert row(day, 0) == summed(minutes)


def test_days_are_the_same_the_second_time_and_across_months(series: Series) -> None:
    start = open_of("1d", NOW - 45 * DAY_MS)
    first = series.candles("1d", start, NOW, NOW)
    again = Series(Tape(7, LISTING)).candles("1d", start, NOW, NOW)
    assert np.array_equal(np.diff(first.minute), np.full(45, 1440))
    for name in BAR_FIELDS:
        assert np.array_equal(getattr(first, name), getattr(again, name))


def test_a_candle_over_silent_minutes_keeps_a_price() -> None:
    series = Series(Tape(7, QUIET))
    minutes = series.candles("1m", NOW - DAY_MS, NOW, NOW)
    silent = minutes.count == 0
    assert silent.any()
    assert (minutes.close[1:][silent[1:]] == minutes.close[:-1][silent[1:]]).all()
