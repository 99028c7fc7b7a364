"""The columns of raw rows and how Binance's own columns map to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.exchanges import plain_numbers

INSTANT = pa.timestamp("us", tz="UTC")
# The exchange's columns, by place, under the registry's names; None is not kept.
KLINE_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "reported_close_time",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    None,
)
FUNDING_ARCHIVE_COLUMNS = ("funding_time_raw", "funding_interval_hours", "funding_rate")
FUNDING_REST_KEYS = {"fundingTime": "funding_time_raw", "fundingRate": "funding_rate", "markPrice": "mark_price"}
AGG_TRADE_ARCHIVE_COLUMNS = (
    "trade_id",
    "price",
    "amount",
    "first_trade_id",
    "last_trade_id",
    "event_time",
    "is_buyer_maker",
    "is_best_match",
)
AGG_TRADE_REST_KEYS = dict(zip("apqflTmM", AGG_TRADE_ARCHIVE_COLUMNS, strict=True))
TIME_COLUMNS = {"ohlcv": "open_time", "funding_rates": "funding_time_raw", "trades": "event_time"}
_INSTANT_COLUMNS = {"open_time", "reported_close_time", "funding_time_raw", "event_time"}
_PROVENANCE = [
    ("source_position", pa.int64()),
    ("received_at", INSTANT),
    ("source_ref", pa.string()),
    ("raw_payload", pa.string()),
]


def _schema(names: Sequence[str]) -> pa.Schema:
    fields = [(name, INSTANT if name in _INSTANT_COLUMNS else pa.string()) for name in names]
    return pa.schema([*fields, *_PROVENANCE])


RAW_SCHEMAS = {
    "ohlcv": _schema([name for name in KLINE_COLUMNS if name]),
    "funding_rates": _schema(["funding_time_raw", "funding_interval_hours", "funding_rate", "mark_price"]),
    "trades": _schema(
        [
            *(name for name in AGG_TRADE_ARCHIVE_COLUMNS if name != "is_buyer_maker"),
            *("trade_kind", "quote_amount", "taker_side"),
        ]
    ),
}


def instants_of(texts: pa.Array) -> pa.Array:
    """Return the UTC instants of epoch texts: milliseconds below 10^14, microseconds from there; else null."""
    numbers = plain_numbers.whole_numbers(texts, least_digits=13, most_digits=16)
    if numbers is None:
        is_readable = pc.fill_null(pc.match_substring_regex(texts, r"^[0-9]{13,16}$"), False)
        numbers = pc.cast(pc.if_else(is_readable, texts, pa.scalar(None, pa.string())), pa.int64())
    return pc.cast(pc.if_else(pc.less(numbers, 10**14), pc.multiply(numbers, 1000), numbers), INSTANT)


def agg_trades_of(columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Return aggregate trades under the registry's names; the taker sells where the buyer was the maker (ING-22)."""
    maker = columns["is_buyer_maker"]
    is_known = pc.fill_null(pc.match_substring_regex(maker, "^(?i:true|false)$"), False)
    side = pc.if_else(pc.equal(pc.utf8_lower(maker), "true"), "sell", "buy")
    named = {name: column for name, column in columns.items() if name != "is_buyer_maker"}
    return named | {
        "trade_kind": pa.repeat(pa.scalar("agg"), len(maker)),
        "taker_side": pc.if_else(is_known, side, pa.scalar(None, pa.string())),
    }


def cut_to_milliseconds(instants: pa.Array) -> pa.Array:
    """Return the instants rounded down to milliseconds, so that both units of one instant agree."""
    numbers = pc.cast(instants, pa.int64())
    return pc.cast(pc.multiply(pc.divide(numbers, 1000), 1000), INSTANT)


def raw_batch(
    dataset: str,
    columns: Mapping[str, pa.Array],
    count: int,
    *,
    received_at: datetime,
    source_ref: str,
    first_position: int,
    payloads: pa.Array | Sequence[str | None] | None,
) -> pa.RecordBatch:
    """Return a batch of `count` rows in the dataset's raw schema; columns that the source lacks are null."""
    schema = RAW_SCHEMAS[dataset]
    everything = {
        **columns,
        "source_position": pa.array(np.arange(first_position, first_position + count, dtype=np.int64)),
        "received_at": pa.repeat(pa.scalar(received_at, INSTANT), count),
        "source_ref": pa.repeat(pa.scalar(source_ref, pa.string()), count),
    }
    if payloads is not None:
        everything["raw_payload"] = pa.array(payloads, pa.string()) if isinstance(payloads, list) else payloads
    arrays = [everything[field.name] if field.name in everything else pa.nulls(count, field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
