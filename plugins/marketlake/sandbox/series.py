"""Candles of any interval from the tape: closed ones and the one that is still open at an instant."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from marketlake.sandbox.intervals import LENGTHS, MONTH, month_start, next_open, open_of
from marketlake.sandbox.listings import DAY_MS
from marketlake.sandbox.noise import Ints
from marketlake.sandbox.tape import BAR_FIELDS, MINUTE_MS, MinuteBars, Tape, trades_of

_KEPT_MONTHS = 4_000


class Series:
    """Candles of one listing; sums by day are kept, so that long intervals over years are cheap the second time."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._listed = tape.listing.listed_ms
        self._days: OrderedDict[int, MinuteBars] = OrderedDict()
        self._lock = threading.Lock()

    def candles(self, interval: str, start_ms: int, end_ms: int, now_ms: int) -> MinuteBars:
        """Return the candles that open in [start, end), at most up to the one open at `now_ms`, as of that instant.

        `minute` holds the open time in minutes since 1970.
        """
        start = open_of(interval, max(start_ms, self._listed))
        start = next_open(interval, start) if start < start_ms else start
        end = open_of(interval, end_ms - 1)
        end = next_open(interval, end) if end < end_ms else end
        end = min(end, next_open(interval, open_of(interval, now_ms)))
        if start >= end or now_ms < self._listed:
            return self.tape.bars(0, 0)
        first = max(start, self._listed)
        parts = self._pieces(interval, first, min(end, now_ms + 1), now_ms)
        return _group(_joined(parts), interval)

    def _pieces(self, interval: str, first: int, end: int, now_ms: int) -> list[MinuteBars]:
        parts: list[MinuteBars] = []
        closed = min(end, now_ms // MINUTE_MS * MINUTE_MS)
        if interval == MONTH or LENGTHS[interval] >= DAY_MS:
            today = closed // DAY_MS * DAY_MS
            parts += self._whole_days(first, today)
            first = max(first, today)
        parts.append(self.tape.bars(first // MINUTE_MS, closed // MINUTE_MS))
        if closed < end:
            parts.append(self._open_minute(closed // MINUTE_MS, now_ms))
        return parts

    def _whole_days(self, first: int, end: int) -> list[MinuteBars]:
        parts = []
        month = month_start(first)
        while month < end:
            days = self._days_of(month)
            low, high = np.searchsorted(days.minute, [first // DAY_MS * 1440, end // MINUTE_MS])
            parts.append(days.cut(int(low), int(high)))
            month = next_open(MONTH, month)
        return parts

    def _days_of(self, month: int) -> MinuteBars:
        with self._lock:
            if month in self._days:
                self._days.move_to_end(month)
                return self._days[month]
        first = max(month, self._listed)
        days = _group(self.tape.bars(first // MINUTE_MS, next_open(MONTH, month) // MINUTE_MS), "1d")
        with self._lock:
            self._days[month] = days
            while len(self._days) > _KEPT_MONTHS:
                self._days.popitem(last=False)
        return days

    def _open_minute(self, minute: int, now_ms: int) -> MinuteBars:
        fills = self.tape.fills(minute, minute + 1)
        fills = fills.cut(0, int(np.searchsorted(fills.time_us // 1000, now_ms, side="right")))
        if not len(fills.number):
            if minute * MINUTE_MS == self._listed:
                return self.tape.bars(0, 0)
            close = self.tape.bars(minute - 1, minute).close[0]
            return MinuteBars(*(np.array([value]) for value in (minute, close, close, close, close, 0, 0, 0, 0, 0)))
        value = fills.price * fills.amount
        bought = (~fills.buyer_is_maker).astype(np.int64)
        first, last = trades_of(fills.number)
        row = (
            minute, fills.price[0], fills.price.max(), fills.price.min(), fills.price[-1], fills.amount.sum(),
            value.sum(), last[-1] - first[0] + 1, (fills.amount * bought).sum(), (value * bought).sum(),
        )  # fmt: skip
        return MinuteBars(*(np.array([value], dtype=np.int64) for value in row))


def _joined(parts: list[MinuteBars]) -> MinuteBars:
    if len(parts) == 1:
        return parts[0]
    return MinuteBars(*(np.concatenate([getattr(part, name) for part in parts]) for name in BAR_FIELDS))


def _group(bars: MinuteBars, interval: str) -> MinuteBars:
    if interval == "1m" or not len(bars.minute):
        return bars
    opens = _opens(bars.minute, interval)
    starts = np.flatnonzero(np.diff(opens, prepend=-1))
    ends = np.append(starts[1:], len(opens)) - 1
    sums = [np.add.reduceat(column, starts) for column in (bars.volume, bars.quote, bars.count)]
    takers = [np.add.reduceat(column, starts) for column in (bars.taker_volume, bars.taker_quote)]
    high, low = np.maximum.reduceat(bars.high, starts), np.minimum.reduceat(bars.low, starts)
    return MinuteBars(opens[starts], bars.open[starts], high, low, bars.close[ends], *sums, *takers)


def _opens(minutes: Ints, interval: str) -> Ints:
    if interval == MONTH:
        months = (minutes * 60).astype("datetime64[s]").astype("datetime64[M]")
        return months.astype("datetime64[s]").astype(np.int64) // 60
    shift = 4 * 1440 if interval == "1w" else 0
    length = LENGTHS[interval] // MINUTE_MS
    return minutes - (minutes - shift) % length
