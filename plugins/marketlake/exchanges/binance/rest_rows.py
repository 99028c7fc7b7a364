"""REST segments → batches of raw rows: the exact text of each element, open candles left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from marketlake.errors import DataError
from marketlake.exchanges.binance.raw_columns import (
    AGG_TRADE_REST_KEYS,
    FUNDING_REST_KEYS,
    INSTANT,
    KLINE_COLUMNS,
    agg_trades_of,
    cut_to_milliseconds,
    instants_of,
    raw_batch,
)
from marketlake.instants import parse_instant
from marketlake.landing.segments import segment_lines
from marketlake.timeframes import timeframe_length
from marketlake.work import Answer, LandedFile

# Numbers stay text: a float would lose digits.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str)
_SPACE = re.compile(r"[ \t\r\n]*")


def rest_batches(
    dataset: str, path: str | Path, *, file: LandedFile, answer: Answer, with_payload: bool = True
) -> Iterator[pa.RecordBatch]:
    """Yield one batch for each response of a segment that has rows.

    Raises:
        DataError: a body is no JSON array.
    """
    position = 0
    for line in segment_lines(Path(path)):
        try:
            elements = list(json_elements(line["body"]))
        except ValueError as error:
            raise DataError(f"a response in {file.path} is no JSON array: {error}") from None
        columns = _COLUMNS_OF[dataset](elements)
        batch = raw_batch(
            dataset,
            columns,
            len(elements),
            received_at=parse_instant(line["received_at"]),
            source_ref=line["path"],
            first_position=position,
            payloads=[text for _, text in elements] if with_payload else None,
        )
        position += len(elements)
        if dataset == "ohlcv":
            batch = _closed_only(batch, answer.timeframe, parse_instant(line["exchange_time"]))
        if batch.num_rows:
            yield batch


def json_elements(text: str) -> Iterator[tuple[Any, str]]:
    """Yield each element of a JSON array, numbers as text, with its exact text.

    Raises:
        ValueError: the text is no complete JSON array.
    """
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError(f"it begins with {text[:40]!r}")
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return
    while True:
        element, end = _DECODER.raw_decode(text, at)
        yield element, text[at:end]
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            return
        if text[at : at + 1] != ",":
            raise ValueError(f"it is cut or damaged at character {at}")
        at = _skip(text, at + 1)


def _klines(elements: list[tuple[Any, str]]) -> dict[str, pa.Array]:
    rows = [element if isinstance(element, list) else [] for element, _ in elements]
    columns = {
        name: pa.array([_text(row[place]) if place < len(row) else None for row in rows], pa.string())
        for place, name in enumerate(KLINE_COLUMNS)
        if name
    }
    columns["open_time"] = instants_of(columns["open_time"])
    columns["reported_close_time"] = cut_to_milliseconds(instants_of(columns["reported_close_time"]))
    return columns


def _funding(elements: list[tuple[Any, str]]) -> dict[str, pa.Array]:
    columns = _by_key(elements, FUNDING_REST_KEYS)
    columns["funding_time_raw"] = instants_of(columns["funding_time_raw"])
    return columns


def _agg_trades(elements: list[tuple[Any, str]]) -> dict[str, pa.Array]:
    columns = _by_key(elements, AGG_TRADE_REST_KEYS)
    columns["event_time"] = instants_of(columns["event_time"])
    return agg_trades_of(columns)


_COLUMNS_OF = {"ohlcv": _klines, "funding_rates": _funding, "trades": _agg_trades}


def _by_key(elements: list[tuple[Any, str]], keys: Mapping[str, str]) -> dict[str, pa.Array]:
    rows = [element if isinstance(element, dict) else {} for element, _ in elements]
    return {name: pa.array([_text(row.get(key)) for row in rows], pa.string()) for key, name in keys.items()}


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _closed_only(batch: pa.RecordBatch, timeframe: str, exchange_time: datetime) -> pa.RecordBatch:
    last_open = pa.scalar(exchange_time - timeframe_length(timeframe), INSTANT)
    is_closed = pc.fill_null(pc.less_equal(batch.column("open_time"), last_open), True)
    return batch.filter(is_closed)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
