"""The tape of the synthetic market: every trade of every minute, and the 1m candles that they make.

Time is cut into blocks of eight minutes. A listing has the same number of fills in each block, dealt to its minutes by
one of 256 patterns, so that a fill's number and its minute follow from each other without counting from the start. The
first minute of a block always has a fill, so the close before a silent minute is never far away. Amounts and prices
are whole numbers of steps and ticks: candles, trades and archives agree to the last digit because they are sums of the
same integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from marketlake.sandbox.listings import Listing
from marketlake.sandbox.noise import Bits, Floats, Ints, bits, key_of
from marketlake.sandbox.prices import price_levels

BLOCK_MINUTES = 8
SLOTS = 8
MINUTE_MS = 60_000
_CHUNK = 8_192
_SIXTEEN = np.uint64(0xFFFF)
# How busy an hour of the day (UTC) is, and how a fill's value scatters: most are small, a few are twenty times larger.
_HOURS = np.array([0.8, 0.7, 0.65, 0.6, 0.6, 0.65, 0.75, 0.9, 1.0, 1.0, 1.0, 1.05, 1.2, 1.5, 1.7, 1.7,
                   1.5, 1.3, 1.15, 1.05, 1.0, 0.95, 0.9, 0.85])  # fmt: skip
_SCATTER = 0.15 / (1.0 - np.arange(256) / 257.0)


@dataclass(frozen=True)
class MinuteBars:
    """1m candles as columns of integers: prices in ticks, amounts in steps, quote in ticks × steps."""

    minute: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    quote: Ints
    count: Ints
    taker_volume: Ints
    taker_quote: Ints

    def cut(self, start: int, end: int) -> MinuteBars:
        """Return the rows [start, end)."""
        return MinuteBars(*(getattr(self, name)[start:end] for name in BAR_FIELDS))


BAR_FIELDS = tuple(MinuteBars.__dataclass_fields__)


@dataclass(frozen=True)
class Fills:
    """Fills in the order they happened: one price, instant and taker side each; `first_trade`, `trades` number them."""

    number: Ints
    time_us: Ints
    price: Ints
    amount: Ints
    buyer_is_maker: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def cut(self, start: int | None, end: int | None) -> Fills:
        """Return the rows [start, end)."""
        rows = slice(start, end)
        return Fills(
            self.number[rows], self.time_us[rows], self.price[rows], self.amount[rows], self.buyer_is_maker[rows]
        )


@dataclass(frozen=True)
class _Slots:
    """Prices and amounts of the eight slots of each minute, shape (SLOTS, minutes), unused slots included."""

    counts: Ints
    price: Ints
    amount: Ints
    sides: Bits


class Tape:
    """The trades of one listing; nothing is kept but the patterns."""

    def __init__(self, seed: int, listing: Listing) -> None:
        self.seed = seed
        self.listing = listing
        self.per_block = listing.trades_per_block
        self._key = key_of(seed, listing.venue, listing.symbol, "tape")
        self._patterns = _patterns(self._key, self.per_block)
        self._slots_used = int(self._patterns.max())
        self._first_block = listing.listed_ms // MINUTE_MS // BLOCK_MINUTES

    def bars(self, first_minute: int, last_minute: int) -> MinuteBars:
        """Return the 1m candles of the minutes [first, last), which must not begin before the listing."""
        parts = [self._bars(start, end) for start, end in _chunks(first_minute, last_minute)]
        if not parts:
            return MinuteBars(*(np.empty(0, dtype=np.int64) for _ in BAR_FIELDS))
        return MinuteBars(*(np.concatenate([getattr(part, name) for part in parts]) for name in BAR_FIELDS))

    def fills(self, first_minute: int, last_minute: int) -> Fills:
        """Return the fills of the minutes [first, last) in order."""
        minutes = np.arange(first_minute, last_minute, dtype=np.int64)
        slots = self._slots(first_minute, last_minute - first_minute)
        used = (np.arange(self._slots_used)[:, None] < slots.counts[None, :]).T
        times = minutes[:, None] * (MINUTE_MS * 1000) + self._offsets(minutes, slots.counts)
        maker = ((slots.sides[:, None] >> np.arange(self._slots_used, dtype=np.uint64)[None, :]) & np.uint64(1)) == 1
        first = self.first_number(first_minute)
        number = np.arange(first, first + int(slots.counts.sum()), dtype=np.int64)
        return Fills(number, times[used], slots.price.T[used], slots.amount.T[used], maker[used])

    def first_number(self, minute: int) -> int:
        """Return the number of the first fill at or after a minute's start; numbers begin at 0 and have no gaps."""
        block, inside = divmod(minute, BLOCK_MINUTES)
        before = self._counts(block * BLOCK_MINUTES, inside).sum() if inside else 0
        return (block - self._first_block) * self.per_block + int(before)

    def minute_of(self, number: int) -> int:
        """Return the minute in which a fill happens."""
        block, inside = divmod(number, self.per_block)
        start = (block + self._first_block) * BLOCK_MINUTES
        return start + int(np.searchsorted(np.cumsum(self._counts(start, BLOCK_MINUTES)), inside, side="right"))

    def _bars(self, first: int, last: int) -> MinuteBars:
        lead = first % BLOCK_MINUTES
        first -= lead
        slots = self._slots(first, last - first)
        bars = _aggregate(slots, np.arange(first, last, dtype=np.int64), self.first_number(first))
        return bars.cut(lead, last - first)

    def _counts(self, first: int, count: int) -> Ints:
        block = first // BLOCK_MINUTES
        blocks = np.arange(block, (first + count - 1) // BLOCK_MINUTES + 1, dtype=np.int64)
        rows = self._patterns[(bits(self._key, blocks) & np.uint64(0xFF)).astype(np.int64)]
        offset = first - block * BLOCK_MINUTES
        return rows.reshape(-1)[offset : offset + count]

    def _slots(self, first: int, count: int) -> _Slots:
        counts = self._counts(first, count)
        minutes = np.arange(first, first + count, dtype=np.int64)
        scale = 10.0**self.listing.price_digits
        levels = price_levels(self.seed, self.listing, first, count + 1) * scale
        value = self._typical_amount(minutes, levels[:-1])
        share = 1.0 / np.maximum(counts, 1)
        shape = (self._slots_used, count)
        price, amount = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
        wobble = levels[:-1] * (0.0005 / 65536.0)
        step = (levels[1:] - levels[:-1]) * share
        for slot in range(self._slots_used):
            if slot % 4 == 0:
                moves = bits((self._key + 1 + slot) % 2**64, minutes)
                sizes = bits((self._key + 11 + slot) % 2**64, minutes)
            shift = np.uint64(16 * (slot % 4))
            move = ((moves >> shift) & _SIXTEEN).astype(np.float64) - 32768.0
            at = levels[:-1] + step * (slot + 0.5) + wobble * move
            price[slot] = np.maximum(np.rint(at), 1.0)
            size = _SCATTER[((sizes >> shift) & np.uint64(0xFF)).astype(np.int64)]
            amount[slot] = np.maximum(np.rint(value * size), 2.0)
        return _Slots(counts, price, amount, bits((self._key + 21) % 2**64, minutes))

    def _typical_amount(self, minutes: Ints, levels: Floats) -> Floats:
        """Steps per fill: the listing's value at this price, on this day, in this hour."""
        day = bits((self._key + 31) % 2**64, minutes // 1440) >> np.uint64(48)
        busy = _HOURS[(minutes // 60) % 24] * (0.5 + day.astype(np.float64) / 65536.0)
        scale = 10.0 ** (self.listing.price_digits + self.listing.amount_digits)
        return busy * (self.listing.trade_value * scale) / levels

    def _offsets(self, minutes: Ints, counts: Ints) -> Ints:
        """Microseconds into the minute, shape (minutes, slots), increasing along the slots in use."""
        width = 60_000_000.0 / np.maximum(counts, 1)
        offsets = np.empty((len(minutes), self._slots_used), dtype=np.int64)
        for slot in range(self._slots_used):
            if slot % 4 == 0:
                drawn = bits((self._key + 41 + slot) % 2**64, minutes)
            part = ((drawn >> np.uint64(16 * (slot % 4))) & _SIXTEEN).astype(np.float64) / 65536.0
            offsets[:, slot] = np.floor((slot + part) * width)
        return offsets


def trades_of(numbers: Ints) -> tuple[Ints, Ints]:
    """Return first and last trade id of fills: every fourth fill is two trades at one price, the others are one."""
    first = numbers + numbers // 4
    return first, first + (numbers % 4 == 3)


def _aggregate(slots: _Slots, minutes: Ints, first_number: int) -> MinuteBars:
    counts = slots.counts
    zero = np.zeros(len(minutes), dtype=np.int64)
    volume, quote, taker_volume, taker_quote = zero.copy(), zero.copy(), zero.copy(), zero.copy()
    high, low, close = zero.copy(), np.full(len(minutes), np.iinfo(np.int64).max), slots.price[0].copy()
    for slot in range(len(slots.price)):
        used = counts > slot
        price = slots.price[slot]
        amount = np.where(used, slots.amount[slot], 0)
        value = price * amount
        bought = (((slots.sides >> np.uint64(slot)) & np.uint64(1)) == 0).astype(np.int64)
        volume += amount
        quote += value
        taker_volume += amount * bought
        taker_quote += value * bought
        np.maximum(high, price, out=high, where=used)
        np.minimum(low, price, out=low, where=used)
        np.copyto(close, price, where=used)
    return _fill_silent(
        MinuteBars(
            minutes, slots.price[0].copy(), high, low, close, volume, quote, _trade_counts(counts, first_number),
            taker_volume, taker_quote,
        )
    )  # fmt: skip


def _trade_counts(counts: Ints, first_number: int) -> Ints:
    ends = first_number + np.cumsum(counts)
    starts = ends - counts
    return (ends + ends // 4) - (starts + starts // 4)


def _fill_silent(bars: MinuteBars) -> MinuteBars:
    """Give a minute without a trade the close before it as its four prices, as the exchange does."""
    silent = bars.volume == 0
    if silent.any():
        last = np.maximum.accumulate(np.where(silent, 0, np.arange(len(silent))))
        before = bars.close[last]
        for column in (bars.open, bars.high, bars.low, bars.close):
            np.copyto(column, before, where=silent)
    return bars


def _chunks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Parts that end on a block and fit the processor's cache."""
    while first < last:
        end = min(last, (first // _CHUNK + 1) * _CHUNK)
        yield first, end
        first = end


@lru_cache(maxsize=256)
def _patterns(key: int, per_block: int) -> Ints:
    """256 ways to deal a block's fills to its eight minutes: at least one to the first, at most eight to any."""
    table = []
    for row in range(256):
        dealt = [1] + [0] * (BLOCK_MINUTES - 1)
        draws = bits((key + 1000 + row) % 2**64, np.arange(per_block, dtype=np.int64)) & np.uint64(7)
        for minute in draws[1:].tolist():
            while dealt[minute] == SLOTS:
                minute = (minute + 1) % BLOCK_MINUTES
            dealt[minute] += 1
        table.append(dealt)
    return np.array(table, dtype=np.int64)
