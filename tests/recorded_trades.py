"""The recorded trades as typed rows, in the order of the exchange's ids."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

DECIMAL = pa.decimal128(28, 12)
INSTANT = pa.timestamp("us", tz="UTC")
TRADES = pa.schema(
    [
        ("event_time", INSTANT), ("price", DECIMAL), ("amount", DECIMAL), ("taker_side", pa.string()),
        ("trade_kind", pa.string()), ("trade_id", pa.string()), ("first_trade_id", pa.int64()),
        ("last_trade_id", pa.int64()),
    ]
)  # fmt: skip
CANDLE_VALUES = ("open", "high", "low", "close", "volume")


def aggregate_trades(recorded_data: Path) -> pa.Table:
    """Return the 12,477 recorded aggregate trades of XRP/ETH."""
    lines = _lines(recorded_data / "trades/binance-spot", "XRPETH-aggTrades-*.raw.jsonl.gz")
    return _trade_table("agg", [json.loads(line) for line in lines])


def captured_trades(recorded_data: Path, *days: str) -> pa.Table:
    """Return the trades of the WebSocket captures of BTC/USDT, by day: `20240808`, `20240809`."""
    lines = (one for day in days for one in _lines(recorded_data / "ws", f"binance-spot-btcusdt_{day}.gz"))
    messages = (line.split(b" ", 1)[1] for line in lines if b'"e":"trade"' in line)
    return _trade_table("trade", [json.loads(message)["data"] for message in messages])


def recorded_candles(recorded_data: Path, name: str) -> pa.Table:
    """Return open time and `CANDLE_VALUES` of the one recorded file of Binance spot, `1m/XRPETH-1m-2019-10-11_…`."""
    names = ["open_time", *CANDLE_VALUES]
    text = csv.read_csv(
        recorded_data / "klines/binance-spot" / f"{name}.csv.gz",
        convert_options=csv.ConvertOptions(
            include_columns=names, column_types=dict.fromkeys(CANDLE_VALUES, DECIMAL) | {"open_time": pa.int64()}
        ),
    )
    opens = text["open_time"].cast(pa.timestamp("ms")).cast(INSTANT)
    return text.set_column(0, "open_time", opens)


def _trade_table(kind: str, rows: list[dict[str, Any]]) -> pa.Table:
    """The exchange's own trade objects as typed rows."""
    number = "a" if kind == "agg" else "t"
    columns: dict[str, Any] = {
        "event_time": pa.array([row["T"] * 1000 for row in rows], pa.int64()).cast(pa.timestamp("us")).cast(INSTANT),
        "price": pa.array([row["p"] for row in rows]).cast(DECIMAL),
        "amount": pa.array([row["q"] for row in rows]).cast(DECIMAL),
        "taker_side": ["sell" if row["m"] else "buy" for row in rows],
        "trade_kind": [kind] * len(rows),
        "trade_id": [str(row[number]) for row in rows],
        "first_trade_id": [row.get("f") for row in rows],
        "last_trade_id": [row.get("l") for row in rows],
    }
    return pa.table(columns, schema=TRADES)


def _lines(folder: Path, pattern: str) -> list[bytes]:
    [file] = folder.glob(pattern)
    return gzip.decompress(file.read_bytes()).splitlines()
