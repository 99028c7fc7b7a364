"""What the server needs of a market, whether made up or recorded; rows are as they go over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from marketlake.sandbox.listings import Listing

KLINE_FIELDS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
KlineRow = list[Any]
Record = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One page: the oldest `limit` rows from `start`, or without a start the newest up to `end`; bounds inclusive."""

    now_ms: int
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int = 500
    from_id: int | None = None


@dataclass(frozen=True)
class ArchivePath:
    """One file of the archive tree, by its address; `[start_ms, end_ms)` is the period it covers."""

    venue: str
    cycle: str
    dataset: str
    symbol: str
    timeframe: str | None
    start_ms: int
    end_ms: int
    path: str

    @property
    def name(self) -> str:
        """The file's own name, `BTCUSDT-1m-2025-01.zip`."""
        return self.path.rsplit("/", 1)[1]


class Market(Protocol):
    """A source of exchange data at any instant; nothing after `now_ms` is ever given out."""

    @property
    def name(self) -> str:
        """`synthetic:<seed>` or `recorded`: which market feeds a lake that reads it."""
        ...

    def listings(self, venue: str) -> Mapping[str, Listing]:
        """Return the symbols of `spot` or `um`."""
        ...

    def exchange_info(self, venue: str, now_ms: int) -> Record:
        """Return the body of exchangeInfo."""
        ...

    def klines(self, listing: Listing, interval: str, ask: Ask) -> list[KlineRow]:
        """Return a page of candles, the open one last where the page reaches it."""
        ...

    def funding(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of settled funding events."""
        ...

    def agg_trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of aggregate trades, by id where `from_id` is given."""
        ...

    def trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of trades, by id where `from_id` is given."""
        ...

    def depth(self, listing: Listing, limit: int, now_ms: int) -> Record:
        """Return the order book."""
        ...

    def premium_index(self, listing: Listing, now_ms: int) -> Record:
        """Return mark price, index price and the running funding rate."""
        ...

    def archive(self, path: ArchivePath) -> bytes | None:
        """Return the zip of a period that lies in the past, or None where there is none."""
        ...

    def archive_rows(self, path: ArchivePath) -> tuple[str, list[list[str]]] | None:
        """Return header line (empty where the file has none) and rows of the file's CSV as texts."""
        ...

    def checksum(self, path: ArchivePath, archive: bytes) -> bytes:
        """Return the content of the CHECKSUM file beside an archive."""
        ...
