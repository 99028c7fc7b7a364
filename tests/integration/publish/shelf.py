"""A lake on disk with the Postgres that it is published to, short enough to use in a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from deltalake import write_deltalake

from marketlake.datasets import OHLCV, Dataset
from marketlake.instants import Window
from marketlake.ledger import Change, LoadRecord, record_load
from marketlake.publish.step import publish_changes
from marketlake.settings import Settings
from tests.lakes import commit, commit_funding

NOW = datetime.fromisoformat("2025-03-01T00:00:00+00:00")
RUN = "cli__publish"


@dataclass
class Shelf:
    """A lake and its Postgres: `put` rows, note what `changed`, `publish` it."""

    settings: Settings
    connection: psycopg.Connection
    loads: int = field(default=0)

    @property
    def root(self) -> Path:
        return Path(self.settings.lake_root)

    def put(self, *rows: dict[str, Any]) -> None:
        """Commit candles to the lake, each with the digest of its values."""
        commit(self.root, [digested(row) for row in rows])

    def put_funding(self, *rows: dict[str, Any]) -> None:
        """Commit funding events to the lake."""
        commit_funding(self.root, [digested(row) for row in rows])

    def reject(self, *rejects: tuple[str, dict[str, Any]]) -> None:
        """Add rejected candles to the dead-letter table: reject id, candle."""
        names = ("exchange", "symbol", "timeframe", "open_time")
        table = [
            {"reject_id": name, "raw_payload": name[0], **{column: row[column] for column in names}}
            for name, row in rejects
        ]
        write_deltalake(str(self.root / "bronze" / "ohlcv_dlq"), pa.Table.from_pylist(table), mode="append")

    def changed(
        self,
        start: datetime,
        end: datetime,
        *,
        symbol: str = "BTC/USDT",
        timeframe: str = "1m",
        dataset: Dataset = OHLCV,
    ) -> None:
        """Record a load that changed this range."""
        self.loads += 1
        window = Window(start, end)
        change = Change(dataset.name, "binance", symbol, timeframe if dataset is OHLCV else "", window)
        record = LoadRecord(f"load-{self.loads}", dataset.table, dataset.name, "binance", None, RUN, changes=(change,))
        assert record_load(self.connection, record)

    def publish(self, run_id: str = RUN, **settings: Any) -> dict[str, Any]:
        """Publish what waits."""
        wanted = self.settings.model_copy(update=settings)
        return publish_changes(self.connection, wanted, run_id=run_id)

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query on Postgres."""
        return self.connection.execute(query.encode(), parameters).fetchall()

    def closes(self, symbol: str = "BTC/USDT", timeframe: str = "1m") -> list[tuple[datetime, str]]:
        """Return time and close of a market's published candles, in time order."""
        return self.rows(
            "select open_time, trim_scale(close)::text from bronze.ohlcv where symbol = %s and timeframe = %s"
            " order by open_time",
            symbol,
            timeframe,
        )

    def days(self, symbol: str = "BTC/USDT") -> list[tuple[str, int, int, int]]:
        """Return day, expected, present and rejected rows of a market."""
        return self.rows(
            "select day::text, expected, present, rejected from bronze.market_day_quality where symbol = %s"
            " order by timeframe, day",
            symbol,
        )

    def waiting(self) -> int:
        """Return how many changes wait for their publication."""
        return int(self.rows("select count(*) from ops.changes where publication_id is null")[0][0])


def digested(row: dict[str, Any]) -> dict[str, Any]:
    values = [row.get(name) for name in ("open", "high", "low", "close", "volume", "funding_rate", "is_retracted")]
    return row | {"digest": f"v1:{md5(repr(values).encode(), usedforsecurity=False).hexdigest()}"}


def restated(
    row: dict[str, Any], close: str, *, after: timedelta = timedelta(hours=1), **changes: Any
) -> dict[str, Any]:
    """Return the next revision of a candle."""
    at = row["known_at"] + after
    return row | {"close": close, "revision": row["revision"] + 1, "received_at": at, "known_at": at} | changes
