"""What the fetch step, the planner and the load ask of any exchange; a new exchange provides these and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from marketlake.instants import Window
from marketlake.work import Answer, Instrument, LandedFile, Market


@dataclass(frozen=True)
class Response:
    """One HTTP answer that was accepted: `text` exactly as received, `body` the same text parsed, instants UTC.

    `params` holds the query, `source_ref` the path without host and page bounds, which names the rows' origin;
    `requested_at` is when it was sent, `received_at` when the answer was there, both on the run's clock.
    """

    url: str
    source_ref: str
    params: Mapping[str, str]
    status: int
    headers: Mapping[str, str]
    text: str
    body: Any
    requested_at: datetime
    received_at: datetime


@dataclass(frozen=True)
class Page:
    """One page of a dataset and where the next one starts; `next_since` is None when there is none.

    `next_id` is the id that the next page starts with, where the exchange pages by id: an instant may have many rows.
    """

    response: Response
    row_count: int
    next_since: datetime | None
    next_id: str | None = None


@dataclass(frozen=True)
class ServerTime:
    """The exchange's clock and the market behind the address: `live`, or what a sandbox calls itself.

    `requested_at` and `received_at` are those of the request that was answered, without the pauses before it.
    """

    instant: datetime
    market: str
    requested_at: datetime
    received_at: datetime


@dataclass(frozen=True)
class Capabilities:
    """What an exchange offers.

    `sources`: dataset → sources, best first. `page_rows`: (dataset, market type) → rows of one REST page.
    `weight_scopes`: the separately metered parts of its request budget. `omits_empty_candles`: a minute without trades
    has no candle, so its absence is not a hole.
    """

    market_types: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]
    timeframes: tuple[str, ...]
    page_rows: Mapping[tuple[str, str], int]
    weight_scopes: tuple[str, ...]
    omits_empty_candles: bool = False


class ExchangeClient(Protocol):
    """An exchange's REST interface. Every call may wait for the request budget and retries what can be retried."""

    def server_time(self) -> ServerTime:
        """Return the exchange's clock."""
        ...

    def instruments(self) -> list[Instrument]:
        """Return every market that the exchange lists, and take over its published request limits."""
        ...

    def page_windows(self, dataset: str, market: Market, *, timeframe: str, window: Window) -> list[Window]:
        """Return the window cut into parts that one page can hold."""
        ...

    def page(self, dataset: str, market: Market, *, timeframe: str, window: Window, from_id: str | None = None) -> Page:
        """Return the first page of rows inside the window, or from an id on, which may go past the window's end.

        Raises:
            MarketRefusedError: the exchange refuses this market or these parameters.
            UnreadableBodyError: the body stayed unreadable after all retries.
            UnavailableError: no answer, a ban beyond the deadline, or a closed source.
        """
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


class ArchiveLayout(Protocol):
    """Where an exchange keeps its bulk archives."""

    def periods(self, dataset: str) -> tuple[str, ...]:
        """Return the lengths that archives of the dataset come in, longest first: `monthly`, `daily`."""
        ...

    def path(self, dataset: str, market: Market, *, timeframe: str, period: str, start: datetime) -> str:
        """Return the path, below the archive URL, of the archive of the period that begins at `start`."""
        ...

    def window(self, path: str) -> Window:
        """Return the range that the archive of this path covers."""
        ...


class Readers(Protocol):
    """Turns landed files into rows of text; runs inside Spark's executors, so it imports stdlib and pyarrow only."""

    def read_batches(
        self, dataset: str, path: str | Path, *, file: LandedFile, answer: Answer, with_payload: bool = True
    ) -> Iterator[Any]:
        """Yield `pyarrow.RecordBatch`es of the file's rows."""
        ...

    def read_rows(
        self, dataset: str, path: str | Path, *, file: LandedFile, answer: Answer, with_payload: bool = True
    ) -> Any:
        """Return the same rows as one `pyarrow.Table`."""
        ...
