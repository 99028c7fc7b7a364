"""The recorded market: a folder of recorded files served again, text for text.

Under the folder: `klines/binance-spot|binance-um/<timeframe>/*.csv.gz`, `funding/binance-um/*.csv.gz`,
`trades/binance-spot|binance-um/*.csv.gz`, the archive tree `archives/data/…`, and the instrument lists
`rest/binance-spot/api_v3_exchangeInfo.json.gz` and `rest/binance-um/fapi_v1_exchangeInfo.json`. A field that was not
recorded is null; a candle is given once it is closed, because the record holds no half candles. Archives are the
recorded ones and nothing else.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.errors import UsageError
from marketlake.sandbox import archives, instruments, tables
from marketlake.sandbox.columns import integers, numbers
from marketlake.sandbox.intervals import next_open
from marketlake.sandbox.listings import SPOT, UM, Listing
from marketlake.sandbox.market import KLINE_FIELDS, ArchivePath, Ask, KlineRow, Record
from marketlake.sandbox.noise import Ints
from marketlake.sandbox.recorded_files import FOLDERS, read_csv
from marketlake.sandbox.recorded_trades import RecordedTrades

_LISTS = {SPOT: "rest/binance-spot/api_v3_exchangeInfo.json.gz", UM: "rest/binance-um/fapi_v1_exchangeInfo.json"}
_WHOLE = ("open_time", "close_time", "count")  # JSON numbers, the others are texts
_FUNDING_FIELDS = ("symbol", "funding_time", "funding_rate", "mark_price")
_QUOTES = ("USDT", "BUSD", "USDC", "BTC", "ETH", "BNB", "EUR")
_CandleKey = tuple[str, str, str]


class RecordedMarket:
    """Serves the recorded files of one folder.

    Raises:
        UsageError: the folder does not hold recorded market data.
    """

    name = "recorded"

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / "klines").is_dir():
            raise UsageError(
                "the recorded market needs a folder with klines/, funding/, trades/, archives/, rest/; "
                f"{self.folder} has none: name it by --data or MARKETLAKE_TEST_DATA"
            )
        self._files = _files_by_market(self.folder)
        self._funding_files = _funding_by_symbol(self.folder)
        self._trades = RecordedTrades(self.folder)
        self._candles: dict[_CandleKey, tuple[Ints, Any]] = {}
        self._events: dict[str, list[Record]] = {}
        self._lock = threading.Lock()
        self._info = {venue: _read_list(self.folder / path) for venue, path in _LISTS.items()}
        self._add_missing_symbols()
        self._listings = {venue: _listings(venue, self._info[venue]["symbols"]) for venue in FOLDERS}

    def listings(self, venue: str) -> Mapping[str, Listing]:
        """Return the symbols of `spot` or `um`."""
        return self._listings[venue]

    def exchange_info(self, venue: str, now_ms: int) -> Record:
        """Return the recorded body of exchangeInfo with today's limits, and the recorded symbols that it lacks."""
        limits = instruments.exchange_info(venue, [], now_ms)["rateLimits"]
        return self._info[venue] | {"serverTime": now_ms, "rateLimits": limits}

    def klines(self, listing: Listing, interval: str, ask: Ask) -> list[KlineRow]:
        """Return a page of recorded candles that are closed by now."""
        opens, table = self._candles_of(listing.venue, listing.symbol, interval)
        last = ask.now_ms if ask.end_ms is None else min(ask.end_ms, ask.now_ms)
        stop = int(np.searchsorted(opens, last, side="right"))
        while stop and next_open(interval, int(opens[stop - 1])) > ask.now_ms:
            stop -= 1
        first = max(0, stop - ask.limit) if ask.start_ms is None else int(np.searchsorted(opens, ask.start_ms))
        return _kline_rows(table.slice(first, max(0, min(stop - first, ask.limit))))

    def funding(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of recorded funding events."""
        last = ask.now_ms if ask.end_ms is None else min(ask.end_ms, ask.now_ms)
        start = ask.start_ms or 0
        events = [one for one in self._funding(listing.symbol) if start <= one["fundingTime"] <= last]
        return events[-ask.limit :] if ask.start_ms is None else events[: ask.limit]

    def agg_trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of recorded aggregate trades, by id where `from_id` is given."""
        return self._trades.page("aggTrades", listing, ask)

    def trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of recorded trades, by id where `from_id` is given."""
        return self._trades.page("trades", listing, ask)

    def depth(self, listing: Listing, limit: int, now_ms: int) -> Record:
        """Return an empty book: none is recorded in this shape."""
        head: Record = {"lastUpdateId": now_ms // 100}
        return head | ({} if listing.venue == SPOT else {"E": now_ms, "T": now_ms}) | {"bids": [], "asks": []}

    def premium_index(self, listing: Listing, now_ms: int) -> Record:
        """Return the last recorded rate; mark and index price are not recorded, so null."""
        last = self.funding(listing, Ask(now_ms, limit=1))
        interval = listing.funding_interval_hours * 3_600_000
        record = instruments.premium_record(
            listing.symbol, mark=0, index=0, rate="", next_ms=(now_ms // interval + 1) * interval, now_ms=now_ms
        )
        unknown = dict.fromkeys(("markPrice", "indexPrice", "estimatedSettlePrice", "interestRate"))
        return record | unknown | {"lastFundingRate": last[0]["fundingRate"] if last else None}

    def archive(self, path: ArchivePath) -> bytes | None:
        """Return the recorded zip, or None where it was not recorded."""
        file = self._archive_file(path)
        return file.read_bytes() if file.is_file() else None

    def archive_rows(self, path: ArchivePath) -> tuple[str, list[list[str]]] | None:
        """Return header and rows of a recorded file's CSV."""
        content = self.archive(path)
        return None if content is None else archives.unzipped(content)

    def checksum(self, path: ArchivePath, archive: bytes) -> bytes:
        """Return the recorded CHECKSUM file, or one made for the recorded zip."""
        file = self._archive_file(path)
        beside = file.with_name(file.name + ".CHECKSUM")
        return beside.read_bytes() if beside.is_file() else archives.checksum_line(path, archive)

    def candles(self, symbol: str, timeframe: str, start: datetime | str, end: datetime | str) -> Any:
        """Return the recorded candles with start ≤ open_time < end as an Arrow table, for scoring.

        Columns as `SyntheticMarket.candles`; what was not recorded is null.
        """
        listing = tables.listing_of(self, symbol)
        opens, table = self._candles_of(listing.venue, listing.symbol, timeframe)
        first, last = (int(np.searchsorted(opens, tables.to_ms(bound))) for bound in (start, end))
        return _candle_table(table.slice(first, max(0, last - first)))

    def _archive_file(self, path: ArchivePath) -> Path:
        return self.folder / "archives" / path.path

    def _candles_of(self, venue: str, symbol: str, interval: str) -> tuple[Ints, Any]:
        """Open times and the text columns of all recorded files of a market, each candle once, in order."""
        key = (venue, symbol, interval)
        with self._lock:
            if key not in self._candles:
                parts = [read_csv(file, KLINE_FIELDS) for file in self._files.get(key, [])]
                whole = (
                    pa.concat_tables(parts)
                    if parts
                    else pa.table({name: pa.nulls(0, pa.string()) for name in KLINE_FIELDS})
                )
                opens, first = np.unique(numbers(whole["open_time"].cast(pa.int64())), return_index=True)
                self._candles[key] = opens, whole.take(integers(first)).combine_chunks()
            return self._candles[key]

    def _funding(self, symbol: str) -> list[Record]:
        with self._lock:
            if symbol not in self._events:
                parts = [read_csv(file, _FUNDING_FIELDS) for file in self._funding_files.get(symbol, [])]
                rows = [row for part in parts for row in part.to_pylist()]
                records = [
                    instruments.funding_record(symbol, row["funding_rate"], int(row["funding_time"]), row["mark_price"])
                    for row in rows
                ]
                self._events[symbol] = sorted(records, key=lambda one: one["fundingTime"])
            return self._events[symbol]

    def _add_missing_symbols(self) -> None:
        """Give a symbol that has recorded data an entry, shaped as one that was recorded."""
        recorded = {(venue, symbol) for venue, symbol, _ in self._files} | {(UM, name) for name in self._funding_files}
        recorded |= _archived(self.folder) | self._trades.markets()
        for venue, symbol in sorted(recorded):
            entries = self._info[venue]["symbols"]
            if any(one["symbol"] == symbol for one in entries):
                continue
            base, quote = _split(symbol)
            listing = Listing(venue, symbol, base, quote, 2 if venue == UM else 8, 3 if venue == UM else 8, 0)
            entries.append(instruments.entry(listing))


def _files_by_market(folder: Path) -> dict[_CandleKey, list[Path]]:
    found: dict[_CandleKey, list[Path]] = {}
    for venue, name in FOLDERS.items():
        for file in sorted((folder / "klines" / name).glob("*/*.csv.gz")):
            found.setdefault((venue, file.name.split("-")[0], file.parent.name), []).append(file)
    return found


def _funding_by_symbol(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in sorted((folder / "funding" / FOLDERS[UM]).glob("*-fundingRate-*.csv.gz")):
        found.setdefault(file.name.split("-")[0], []).append(file)
    return found


def _archived(folder: Path) -> set[tuple[str, str]]:
    found = set()
    for file in (folder / "archives").glob("data/**/*.zip"):
        path = archives.parse_path(file.relative_to(folder / "archives").as_posix())
        if path is not None:
            found.add((path.venue, path.symbol))
    return found


def _read_list(file: Path) -> Record:
    try:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt") as lines:
            body: Record = json.load(lines)
    except FileNotFoundError:
        raise UsageError(f"the recorded market needs the instrument list {file}, which is not there") from None
    return body


def _kline_rows(table: Any) -> list[KlineRow]:
    columns = [
        table[name].cast(pa.int64()).to_pylist() if name in _WHOLE else table[name].to_pylist() for name in KLINE_FIELDS
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _listings(venue: str, entries: list[Record]) -> dict[str, Listing]:
    return {one["symbol"]: _listing(venue, one) for one in entries}


def _listing(venue: str, one: Record) -> Listing:
    filters = {rule["filterType"]: rule for rule in one["filters"]}
    price = _digits(filters["PRICE_FILTER"]["tickSize"])
    amount = _digits(filters["LOT_SIZE"]["stepSize"])
    return Listing(venue, one["symbol"], one["baseAsset"], one["quoteAsset"], price, amount, 0)


def _digits(text: str) -> int:
    return len(text.rstrip("0").partition(".")[2])


def _split(symbol: str) -> tuple[str, str]:
    for quote in _QUOTES:
        if re.fullmatch(rf"\w+{quote}", symbol):
            return symbol.removesuffix(quote), quote
    return symbol, "USDT"


def _candle_table(table: Any) -> Any:
    opens = pc.multiply(table["open_time"].cast(pa.int64()), 1000)
    columns = {"open_time": opens.cast(pa.timestamp("us", tz="UTC"))}
    names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    columns |= {name: table[name].cast(pa.decimal128(28, 12)) for name in names}
    return pa.table(columns | {"trade_count": table["count"].cast(pa.int64())})
