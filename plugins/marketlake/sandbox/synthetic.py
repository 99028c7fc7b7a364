"""The made-up market: every symbol at every instant since its listing, a function of the seed alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from marketlake.errors import UsageError
from marketlake.sandbox import archives, books, instruments, tables
from marketlake.sandbox.intervals import next_open, open_of
from marketlake.sandbox.listings import Listing, synthetic_listings
from marketlake.sandbox.market import ArchivePath, Ask, KlineRow, Record
from marketlake.sandbox.noise import Ints, bits, key_of
from marketlake.sandbox.prices import funding_rates, index_at, premium_at, price_at
from marketlake.sandbox.series import Series
from marketlake.sandbox.tape import MINUTE_MS, Fills, Tape
from marketlake.sandbox.texts import decimal_texts

_HOUR_MS = 3_600_000
_FOREVER = 2**62


class SyntheticMarket:
    """A market whose trades, candles, funding, book and archives are one; the same seed gives the same market."""

    def __init__(self, seed: int = 7, *, more_symbols: int = 0) -> None:
        if not 0 <= seed < 2**63:
            raise UsageError(f"seed must be a whole number from 0 to 2^63 - 1; was {seed}")
        if not 0 <= more_symbols <= 999:
            raise UsageError(f"more_symbols must be from 0 to 999; was {more_symbols}")
        self.seed = seed
        self.name = f"synthetic:{seed}"
        self._listings = synthetic_listings(more_symbols)
        self._series: dict[tuple[str, str], Series] = {}
        self._lock = threading.Lock()

    def listings(self, venue: str) -> Mapping[str, Listing]:
        """Return the symbols of `spot` or `um`."""
        return self._listings[venue]

    def exchange_info(self, venue: str, now_ms: int) -> Record:
        """Return the body of exchangeInfo with the symbols listed by then."""
        listed = [one for one in self._listings[venue].values() if one.listed_ms <= now_ms]
        return instruments.exchange_info(venue, [instruments.entry(one) for one in listed], now_ms)

    def klines(self, listing: Listing, interval: str, ask: Ask) -> list[KlineRow]:
        """Return a page of candles, the open one last where the page reaches it."""
        start, end = _candle_range(listing, interval, ask)
        if start >= end:
            return []
        bars = self.series(listing).candles(interval, start, end, ask.now_ms)
        return tables.kline_rows(listing, interval, bars)

    def funding(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of settled funding events."""
        interval = listing.funding_interval_hours * _HOUR_MS
        last = min(_FOREVER if ask.end_ms is None else ask.end_ms, ask.now_ms)
        first = listing.listed_ms + 1
        if ask.start_ms is None:
            first = max(first, last - (ask.limit + 1) * interval)
        else:
            first = max(first, ask.start_ms)
            last = min(last, first + (ask.limit + 1) * interval)
        times, rates, marks = self.funding_events(listing, first, last + 1)
        rows = slice(-ask.limit, None) if ask.start_ms is None else slice(ask.limit)
        texts = zip(
            times[rows].tolist(),
            decimal_texts(rates[rows], 8, shown=8).to_pylist(),
            decimal_texts(marks[rows], 8, shown=8).to_pylist(),
            strict=True,
        )
        return [instruments.funding_record(listing.symbol, rate, time, mark) for time, rate, mark in texts]

    def funding_events(self, listing: Listing, start_ms: int, end_ms: int) -> tuple[Ints, Ints, Ints]:
        """Return times (ms), rates and mark prices (both × 1e8) of the events paid in [start, end)."""
        interval = listing.funding_interval_hours * _HOUR_MS
        nominal = np.arange(start_ms // interval, end_ms // interval + 1, dtype=np.int64) * interval
        late = bits(key_of(self.seed, listing.symbol, "payment"), nominal // MINUTE_MS)
        times = nominal + np.where(late & np.uint64(1), (late >> np.uint64(8)) % np.uint64(32), 0).astype(np.int64)
        inside = (times >= max(start_ms, listing.listed_ms + 1)) & (times < end_ms)
        times, minutes = times[inside], nominal[inside] // MINUTE_MS
        rates = funding_rates(premium_at(self.seed, listing, minutes))
        return times, rates, np.rint(price_at(self.seed, listing, minutes) * 1e8).astype(np.int64)

    def agg_trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of aggregate trades, by id where `from_id` is given."""
        fills = self._page(listing, ask, ask.from_id)
        return tables.agg_trade_records(listing, fills)

    def trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of trades, by id where `from_id` is given."""
        number = None if ask.from_id is None else ask.from_id // 5 * 4 + min(ask.from_id % 5, 3)
        fills = self._page(listing, ask, number)
        records = tables.trade_records(listing, tables.split(self.seed, listing, fills))
        if ask.from_id is not None:
            return [one for one in records if one["id"] >= ask.from_id][: ask.limit]
        return records[-ask.limit :]

    def fills(self, listing: Listing, start_ms: int, end_ms: int) -> Fills:
        """Return the fills with `start_ms` ≤ time < `end_ms`."""
        start_ms = max(start_ms, listing.listed_ms)
        if start_ms >= end_ms:
            return _no_fills()
        fills = self._tape(listing).fills(start_ms // MINUTE_MS, -(-end_ms // MINUTE_MS))
        low, high = np.searchsorted(fills.time_us, [start_ms * 1000, end_ms * 1000])
        return fills.cut(int(low), int(high))

    def depth(self, listing: Listing, limit: int, now_ms: int) -> Record:
        """Return a book around the last trade."""
        return books.depth(self.seed, listing, self._page(listing, Ask(now_ms, limit=1), None), limit, now_ms)

    def premium_index(self, listing: Listing, now_ms: int) -> Record:
        """Return mark price, index price and the funding rate settled last."""
        minute, part = divmod(now_ms, MINUTE_MS)
        both = np.array([minute, minute + 1], dtype=np.int64)
        mark, index = (
            float(ends[0] + (ends[1] - ends[0]) * (part / MINUTE_MS))
            for ends in (price_at(self.seed, listing, both), index_at(self.seed, listing, both))
        )
        settled = self.funding(listing, Ask(now_ms, limit=1))
        interval = listing.funding_interval_hours * _HOUR_MS
        return instruments.premium_record(
            listing.symbol,
            mark=mark,
            index=index,
            rate=settled[0]["fundingRate"] if settled else "0.00010000",
            next_ms=(now_ms // interval + 1) * interval,
            now_ms=now_ms,
        )

    def archive(self, path: ArchivePath) -> bytes | None:
        """Return the zip of a closed period, or None where nothing was listed."""
        found = self._archive_columns(path)
        return None if found is None else archives.zipped(path, archives.csv_of_columns(*found))

    def archive_rows(self, path: ArchivePath) -> tuple[str, list[list[str]]] | None:
        """Return header and rows of the file's CSV."""
        found = self._archive_columns(path)
        if found is None:
            return None
        header, columns = found
        return header, [list(row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]

    def checksum(self, path: ArchivePath, archive: bytes) -> bytes:
        """Return the content of the CHECKSUM file beside an archive."""
        return archives.checksum_line(path, archive)

    def candles(self, symbol: str, timeframe: str, start: datetime | str, end: datetime | str) -> Any:
        """Return the true closed candles with start ≤ open_time < end as an Arrow table, for scoring.

        Columns: open_time (timestamp[us, UTC]), open, high, low, close, volume, quote_volume, taker_buy_volume,
        taker_buy_quote_volume (decimal128(28, 12)), trade_count (int64). `symbol` is unified: `BTC/USDT`.
        """
        listing = tables.listing_of(self, symbol)
        bars = self.series(listing).candles(timeframe, tables.to_ms(start), tables.to_ms(end), _FOREVER // 2**20)
        return tables.candle_table(listing, bars)

    def funding_rates(self, symbol: str, start: datetime | str, end: datetime | str) -> Any:
        """Return the true funding events with start ≤ funding_time < end as an Arrow table, for scoring.

        Columns: funding_time (timestamp[us, UTC]), funding_rate, mark_price (decimal128(28, 12)).
        """
        listing = tables.listing_of(self, symbol)
        return tables.funding_table(*self.funding_events(listing, tables.to_ms(start), tables.to_ms(end)))

    def series(self, listing: Listing) -> Series:
        """Return the candles of a listing."""
        with self._lock:
            return self._series.setdefault((listing.venue, listing.symbol), Series(Tape(self.seed, listing)))

    def _tape(self, listing: Listing) -> Tape:
        return self.series(listing).tape

    def _archive_columns(self, path: ArchivePath) -> tuple[str, list[Any]] | None:
        listing = self._listings[path.venue].get(path.symbol)
        if listing is None or path.end_ms <= listing.listed_ms:
            return None
        if path.dataset == "fundingRate":
            times, rates, _ = self.funding_events(listing, path.start_ms, path.end_ms)
            return tables.funding_columns(listing, times, rates) if len(times) else None
        if path.dataset == "klines":
            assert path.timeframe is not None
            published = archives.published_ms(path)
            bars = self.series(listing).candles(path.timeframe, path.start_ms, path.end_ms, published)
            closed = int(np.searchsorted(tables.close_times(path.timeframe, bars), published, side="right"))
            return tables.kline_columns(listing, path.timeframe, bars.cut(0, closed), path) if closed else None
        fills = self.fills(listing, path.start_ms, path.end_ms)
        if not len(fills.number):
            return None
        if path.dataset == "aggTrades":
            return tables.agg_trade_columns(listing, fills, path)
        return tables.trade_columns(listing, tables.split(self.seed, listing, fills), path)

    def _page(self, listing: Listing, ask: Ask, number: int | None) -> Fills:
        """The fills of one page: from a number on, from an instant on, or the newest."""
        last = self._number_before(listing, min(ask.now_ms, ask.now_ms if ask.end_ms is None else ask.end_ms) + 1)
        if number is not None:
            first = max(number, 0)
            last = min(last, first + ask.limit - 1)
        elif ask.start_ms is not None:
            first = self._number_before(listing, ask.start_ms) + 1
            last = min(last, first + ask.limit - 1)
        else:
            first = max(0, last - ask.limit + 1)
        if first > last:
            return _no_fills()
        tape = self._tape(listing)
        start = tape.minute_of(first)
        skipped = first - tape.first_number(start)
        return tape.fills(start, tape.minute_of(last) + 1).cut(skipped, skipped + last - first + 1)

    def _number_before(self, listing: Listing, instant_ms: int) -> int:
        """The number of the last fill before an instant, -1 where there is none."""
        if instant_ms <= listing.listed_ms:
            return -1
        tape = self._tape(listing)
        minute = instant_ms // MINUTE_MS
        inside = int(np.searchsorted(tape.fills(minute, minute + 1).time_us, instant_ms * 1000))
        return tape.first_number(minute) + inside - 1


def _candle_range(listing: Listing, interval: str, ask: Ask) -> tuple[int, int]:
    """Open times [start, end) of a page: `limit` candles from its start, or the last `limit` up to its end."""
    last = ask.now_ms if ask.end_ms is None else min(ask.end_ms, ask.now_ms)
    if last < listing.listed_ms:
        return 0, 0
    end = next_open(interval, open_of(interval, last))
    if ask.start_ms is None:
        return next_open(interval, end, -ask.limit), end
    first = max(ask.start_ms, open_of(interval, listing.listed_ms))
    opened = open_of(interval, first)
    first = opened if opened >= first else next_open(interval, opened)
    return first, min(end, next_open(interval, first, ask.limit))


def _no_fills() -> Fills:
    empty = np.empty(0, dtype=np.int64)
    return Fills(empty, empty, empty, empty, np.empty(0, dtype=np.bool_))
