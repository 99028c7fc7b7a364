"""Rebuilt candles as landed files: JSON lines, values as exact text, each with the instant its newest trade came.

Written by the fetch, read in Spark's executors: stdlib and pyarrow only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from marketlake.datasets import OHLCV, ColumnType
from marketlake.instants import format_instant, parse_instant
from marketlake.landing.segments import segment_lines

REBUILT_FORMAT = "rebuilt_jsonl"
_INSTANT = pa.timestamp("us", tz="UTC")
_VALUES = tuple(column.name for column in OHLCV.value_columns if column.type is not ColumnType.INSTANT)
_BATCH_ROWS = 50_000


def rebuilt_line(candle: dict[str, Any]) -> dict[str, Any]:
    """Return a candle as it is landed; `received_at` is when the newest of its trades came."""
    times = {name: format_instant(candle[name]) for name in ("open_time", "received_at")}
    return times | {name: _text(candle.get(name)) for name in _VALUES}


def rebuilt_batches(path: Path, *, source_ref: str) -> Iterator[pa.RecordBatch]:
    """Yield the file's rows as the exchanges' readers do: instants typed, values as text."""
    rows = list[dict[str, Any]]()
    position = 0
    for line in segment_lines(path):
        rows.append(line)
        if len(rows) == _BATCH_ROWS:
            yield _batch(rows, source_ref, position)
            position, rows = position + len(rows), []
    if rows:
        yield _batch(rows, source_ref, position)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _batch(rows: list[dict[str, Any]], source_ref: str, position: int) -> pa.RecordBatch:
    count = len(rows)
    columns: dict[str, pa.Array] = {
        "open_time": pa.array([parse_instant(row["open_time"]) for row in rows], _INSTANT),
        **{name: pa.array([row[name] for row in rows], pa.string()) for name in _VALUES},
        "reported_close_time": pa.nulls(count, _INSTANT),
        "source_position": pa.array(range(position, position + count), pa.int64()),
        "received_at": pa.array([parse_instant(row["received_at"]) for row in rows], _INSTANT),
        "source_ref": pa.repeat(pa.scalar(source_ref), count),
        "raw_payload": pa.array([json.dumps(row, separators=(",", ":")) for row in rows], pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)
