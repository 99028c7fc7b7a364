"""Small lakes for tests: bronze rows made from the registry's columns and written by delta-rs, a commit per call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from marketlake.datasets import DATASETS, FUNDING_RATES, OHLCV, Dataset
from marketlake.datasets.columns import ColumnType
from marketlake.lake.files import table_path
from marketlake.lake.schemas import arrow_schema
from marketlake.timeframes import timeframe_length

KNOWN = datetime(2025, 2, 1, tzinfo=UTC)


def candle(open_time: datetime, **changes: Any) -> dict[str, Any]:
    """Return one valid bronze candle; `changes` replace fields."""
    row: dict[str, Any] = {
        "exchange": "binance", "market_type": "spot", "symbol": "BTC/USDT", "timeframe": "1m",
        "open": "100.5", "high": "101", "low": "99.25", "close": "100.00000001", "volume": "12.5",
        "quote_volume": "1250.125", "trade_count": 7, "taker_buy_volume": "6", "taker_buy_quote_volume": "600",
        "source": "archive", "source_ref": "a.zip", "revision": 0, "is_retracted": False, "load_id": "l1",
        "received_at": KNOWN, "known_at": KNOWN, "open_time": open_time,
    }  # fmt: skip
    row |= changes
    row.setdefault("digest", f"v1:{row['close']}")
    row.setdefault("exchange_symbol", row["symbol"].partition(":")[0].replace("/", ""))
    row["close_time"] = open_time + timeframe_length(row["timeframe"])
    row["reported_close_time"] = row["close_time"] - timedelta(milliseconds=1)
    return row | _partitions(row, open_time)


def funding(funding_time: datetime, **changes: Any) -> dict[str, Any]:
    """Return one valid bronze funding event; `changes` replace fields."""
    row: dict[str, Any] = {
        "exchange": "binance", "market_type": "perpetual", "symbol": "BTC/USDT:USDT", "exchange_symbol": "BTCUSDT",
        "funding_time": funding_time, "funding_time_raw": funding_time + timedelta(milliseconds=3),
        "funding_interval_hours": 8, "funding_rate": "0.0001", "mark_price": None,
        "source": "rest", "source_ref": "/fapi/v1/fundingRate", "revision": 0, "is_retracted": False,
        "digest": "v1:1", "load_id": "l1", "received_at": KNOWN, "known_at": KNOWN,
    }  # fmt: skip
    row |= changes
    return row | _partitions(row, funding_time)


def trade(event_time: datetime, trade_id: int, **changes: Any) -> dict[str, Any]:
    """Return one valid bronze trade; `changes` replace fields."""
    row: dict[str, Any] = {
        "exchange": "binance", "market_type": "spot", "symbol": "BTC/USDT", "exchange_symbol": "BTCUSDT",
        "trade_kind": "agg", "trade_id": str(trade_id), "first_trade_id": trade_id, "last_trade_id": trade_id,
        "event_time": event_time, "price": "100.5", "amount": "0.25", "quote_amount": None,
        "taker_side": "buy", "is_best_match": True, "source": "archive", "source_ref": "a.zip", "revision": 0,
        "is_retracted": False, "digest": f"v1:{trade_id}", "load_id": "l1", "received_at": KNOWN, "known_at": KNOWN,
    }  # fmt: skip
    row |= changes
    return row | _partitions(row, event_time)


def minutes(
    start: datetime, count: int, *, step: timedelta = timedelta(minutes=1), **changes: Any
) -> list[dict[str, Any]]:
    """Return `count` candles in a row from `start`."""
    return [candle(start + step * i, **changes) for i in range(count)]


def commit(root: Path, rows: Iterable[Mapping[str, Any]], *, dataset: Dataset = OHLCV) -> None:
    """Append rows to a dataset's bronze table in one commit, made at the first."""
    schema = arrow_schema(dataset)
    table = pa.Table.from_pylist([_exact(row) for row in rows], schema=schema)
    write_deltalake(
        table_path(str(root), dataset.table), table, mode="append", partition_by=list(dataset.partitioned_by)
    )


def commit_funding(root: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append funding events in one commit."""
    commit(root, rows, dataset=FUNDING_RATES)


def _partitions(row: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "partition_date": at.date(),
        "partition_asset_pair": row["symbol"],
        "partition_month": at.strftime("%Y-%m"),
    }


def _exact(row: Mapping[str, Any]) -> dict[str, Any]:
    columns = [column for dataset in DATASETS.values() for column in dataset.columns]
    decimals = {column.name for column in columns if column.type is ColumnType.DECIMAL}
    return {name: Decimal(v) if name in decimals and isinstance(v, str) else v for name, v in row.items()}
