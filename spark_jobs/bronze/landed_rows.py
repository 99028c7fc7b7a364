"""Landed files to typed rows, inside the executors: read, type exactly, and say which rows the answer is about.

Owns the columns of conformed rows. Files travel as a list in the task's closure; each executor asks the exchange's own
reader for the rows of its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from marketlake.datasets import Column, ColumnType, Dataset
from marketlake.exchanges import plain_numbers
from marketlake.exchanges.registry import exchange_named
from marketlake.instants import EARLIEST
from marketlake.landing.rebuilt import REBUILT_FORMAT, rebuilt_batches
from marketlake.timeframes import timeframe_length
from marketlake.work import Answer, LandedFile
from spark_jobs.bronze.digests import digests
from spark_jobs.bronze.exact_types import (
    INSTANT,
    booleans,
    cut_to_milliseconds,
    decimals,
    nearest_minute,
    plain_decimals,
    shortest,
    texts,
    whole_numbers,
)
from spark_jobs.bronze.trade_ids import with_trade_ids

# What becomes of a row: judged with the others, equal to the one before it, not in the answer's window, still open.
KEPT, COLLAPSED, OUTSIDE, OPEN = "kept", "collapsed", "outside", "open"
FUTURE = timedelta(hours=1)
# Columns that conformed rows have beside the dataset's own.
EXTRA_COLUMNS = {
    "manifest_no": "int",
    "answer_no": "int",
    "file_no": "int",
    "source_position": "bigint",
    "raw_payload": "string",
    "unreadable": "string",
    "window_end": "timestamp",
    "fate": "string",
}
# Columns of the dataset that are not there before the commit.
_LATER = {"revision", "is_retracted", "load_id", "known_at"}


@dataclass(frozen=True)
class LandedSource:
    """One landed file and what is needed to read and place its rows; numbers count within the session's manifests."""

    manifest_no: int
    answer_no: int
    file_no: int
    exchange: str
    path: str
    file: LandedFile
    answer: Answer
    now: datetime
    window_end: datetime


def typed_columns(dataset: Dataset) -> tuple[Column, ...]:
    """Return the dataset's columns that reading a file can fill."""
    return tuple(column for column in dataset.columns if column.name not in _LATER)


def typed_schema(dataset: Dataset) -> str:
    """Return the Spark DDL of the rows that `read_sources` yields."""
    own = [f"{column.name} {column.spark_type}" for column in typed_columns(dataset)]
    return ", ".join([*own, *(f"{name} {kind}" for name, kind in EXTRA_COLUMNS.items())])


def read_sources(
    dataset: Dataset, sources: Sequence[LandedSource]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for `mapInArrow` over the numbers of the sources."""

    def read(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from typed_batches(dataset, sources[number])

    return read


def typed_batches(dataset: Dataset, source: LandedSource, *, with_payload: bool = True) -> Iterator[pa.RecordBatch]:
    """Yield the typed rows of one landed file, every row of it, each with its fate and digest.

    `with_payload=False` leaves `raw_payload` null, which is faster for archives.

    Raises:
        DataError: the exchange's reader holds the file.
    """
    for raw in _raw_batches(dataset, source, with_payload=with_payload):
        if raw.num_rows:
            yield _typed(dataset, source, raw)


def _raw_batches(dataset: Dataset, source: LandedSource, *, with_payload: bool) -> Iterator[pa.RecordBatch]:
    if source.file.format == REBUILT_FORMAT:
        return rebuilt_batches(Path(source.path), source_ref=source.file.source_ref)
    readers = exchange_named(source.exchange).readers
    return readers.read_batches(
        dataset.name, source.path, file=source.file, answer=source.answer, with_payload=with_payload
    )


def _typed(dataset: Dataset, source: LandedSource, raw: pa.RecordBatch) -> pa.RecordBatch:
    columns = _constants(source, raw.num_rows)
    written = dict[str, pa.Array]()
    unreadable = pa.nulls(raw.num_rows, pa.string())
    for column in dataset.value_columns:
        values, is_lost = _value(column, raw.column(column.name), written)
        columns[column.name] = values
        if column.is_nullable:
            unreadable = _noted(unreadable, is_lost, column.name)
    columns |= _times(dataset, source, raw)
    columns |= {name: texts(raw.column(name)) for name in dataset.key if name not in columns}
    if "trade_id" in dataset.key:
        columns |= _identities(columns)
    for name in ("received_at", "source_ref", "source_position", "raw_payload"):
        columns[name] = raw.column(name)
    columns["digest"] = digests(dataset, columns, written)
    columns |= _partitions(dataset, columns)
    columns["unreadable"] = unreadable
    columns["fate"] = _fates(dataset, source, columns)
    names = [*(column.name for column in typed_columns(dataset)), *EXTRA_COLUMNS]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names=names)


def _constants(source: LandedSource, count: int) -> dict[str, pa.Array]:
    market = source.answer.market
    text = {
        "exchange": source.exchange,
        "market_type": market.market_type,
        "symbol": market.symbol,
        "exchange_symbol": market.exchange_symbol,
        "timeframe": source.answer.timeframe,
        "source": source.answer.source,
    }
    numbers = {"manifest_no": source.manifest_no, "answer_no": source.answer_no, "file_no": source.file_no}
    columns = {name: pa.repeat(pa.scalar(value, pa.string()), count) for name, value in text.items()}
    columns |= {name: pa.repeat(pa.scalar(value, pa.int32()), count) for name, value in numbers.items()}
    return columns | {"window_end": pa.repeat(pa.scalar(source.window_end, INSTANT), count)}


def _value(column: Column, raw: pa.Array, written: dict[str, pa.Array]) -> tuple[pa.Array, pa.Array]:
    """Return the typed values, and where a text was there that could not be typed; note how decimals are written."""
    if column.type is ColumnType.INSTANT:
        return cut_to_milliseconds(raw), pa.repeat(False, len(raw))
    if column.type is ColumnType.DECIMAL and (plain := plain_decimals(raw)) is not None:
        values, written[column.name] = plain
        return values, pa.repeat(False, len(raw))
    if column.type is ColumnType.INTEGER and (numbers := plain_numbers.whole_numbers(raw)) is not None:
        return numbers, pa.repeat(False, len(raw))
    given = texts(raw)
    values = _READERS[column.type](given)
    if column.type is ColumnType.DECIMAL:
        written[column.name] = shortest(values)
    return values, pc.and_(pc.is_valid(given), pc.is_null(values))


_READERS = {
    ColumnType.DECIMAL: decimals,
    ColumnType.INTEGER: whole_numbers,
    ColumnType.BOOLEAN: booleans,
    ColumnType.TEXT: texts,
}


def _noted(unreadable: pa.Array, is_lost: pa.Array, name: str) -> pa.Array:
    if not pc.any(is_lost, min_count=0).as_py():
        return unreadable
    first = pc.fill_null(pc.binary_join_element_wise(unreadable, name, ", "), name)
    return pc.if_else(is_lost, first, unreadable)


def _times(dataset: Dataset, source: LandedSource, raw: pa.RecordBatch) -> dict[str, pa.Array]:
    if dataset.has_timeframes:
        opened = raw.column(dataset.time_column)
        length = pa.scalar(timeframe_length(source.answer.timeframe), pa.duration("us"))
        return {dataset.time_column: opened, "close_time": pc.add(opened, length)}
    if dataset.time_column in raw.schema.names:
        return {dataset.time_column: raw.column(dataset.time_column)}
    exact = raw.column(f"{dataset.time_column}_raw")
    columns = {f"{dataset.time_column}_raw": exact, dataset.time_column: nearest_minute(exact)}
    hours = "funding_interval_hours"
    return columns | ({hours: whole_numbers(texts(raw.column(hours)))} if hours in raw.schema.names else {})


def _partitions(dataset: Dataset, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    dates = columns[dataset.time_column].cast(pa.date32())
    found = {"partition_date": dates, "partition_asset_pair": columns["symbol"]}
    if "partition_month" in dataset.column_names:
        # A file has few days: each is written once.
        days = dates.dictionary_encode()
        months = pc.strftime(days.dictionary.cast(pa.timestamp("s")), format="%Y-%m")
        found["partition_month"] = pa.DictionaryArray.from_arrays(days.indices, months).dictionary_decode()
    return found


def _identities(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Name the trades that came without an id; a batch is one answer, and answers do not split an instant (QUA-03)."""
    if not columns["trade_id"].null_count:
        return {}
    needed = ("event_time", "price", "amount", "taker_side", "trade_id")
    named = with_trade_ids(pa.table({name: columns[name] for name in needed}))
    return {"trade_id": named["trade_id"].combine_chunks()}


def _fates(dataset: Dataset, source: LandedSource, columns: dict[str, pa.Array]) -> pa.Array:
    time = columns[dataset.time_column]
    window = source.answer.window
    is_inside = pc.and_(
        pc.greater_equal(time, pa.scalar(window.start, INSTANT)), pc.less(time, pa.scalar(window.end, INSTANT))
    )
    # An absurd instant is nobody's window: it is judged, so that the DLQ tells of it.
    is_absurd = pc.or_(
        pc.less(time, pa.scalar(EARLIEST, INSTANT)),
        pc.greater(time, pc.add(columns["received_at"], pa.scalar(FUTURE, pa.duration("us")))),
    )
    fate = pc.if_else(is_inside, KEPT, OUTSIDE)
    if dataset.has_timeframes:
        is_open = pc.greater(columns["close_time"], pa.scalar(source.now, INSTANT))
        fate = pc.if_else(pc.and_(is_inside, is_open), OPEN, fate)
    return pc.fill_null(pc.if_else(is_absurd, KEPT, fate), KEPT)
