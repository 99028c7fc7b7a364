"""One market's rows for the SDK: resolved, checked, as one table or as a stream of batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

import pyarrow as pa

from marketlake.datasets import Dataset
from marketlake.errors import DataError, UsageError
from marketlake.instants import Window, as_utc, parse_instant
from marketlake.lake.files import TableFiles
from marketlake.lake.floats import floats_of
from marketlake.lake.markets import check_exchange, resolve_held_symbol
from marketlake.lake.reading import BACKFILLED, MarketRange, read_range
from marketlake.lake.schemas import arrow_schema, default_columns
from marketlake.timeframes import timeframe_length

Instant = datetime | str
# No exchange pays funding more often.
_SHORTEST_FUNDING_INTERVAL = timedelta(hours=1)


@dataclass(frozen=True)
class Options:
    """What a caller of the SDK asked for, beside market and version."""

    start: Instant | None
    end: Instant | None
    exchange: str
    as_of: Instant | None
    include_backfilled: bool
    exact: bool
    columns: Sequence[str] | None


@dataclass(frozen=True)
class _Reader:
    table: TableFiles
    dataset: Dataset
    columns: tuple[str, ...]
    as_of: datetime | None
    include_backfilled: bool
    exact: bool

    def read(self, wanted: MarketRange) -> pa.Table:
        rows = read_range(
            self.table,
            self.dataset,
            wanted,
            self.columns,
            as_of=self.as_of,
            include_backfilled=self.include_backfilled,
        )
        return rows if self.exact else floats_of(rows)

    def schema(self) -> pa.Schema:
        empty = arrow_schema(self.dataset, self.columns).empty_table()
        schema = (empty if self.exact else floats_of(empty)).schema
        return schema.append(BACKFILLED) if self.as_of is not None and self.include_backfilled else schema


def read_market(table: TableFiles, dataset: Dataset, symbol: str, timeframe: str | None, options: Options) -> pa.Table:
    """Return the rows of a market in time order.

    Raises:
        UnknownNameError: unknown exchange, symbol or column; the text names the valid ones.
    """
    reader, wanted = _prepare(table, dataset, symbol, timeframe, options)
    # A unified symbol is read as it is; what the lake holds is looked up only for other spellings and for misses.
    rows = reader.read(wanted) if "/" in symbol else None
    if rows:
        return rows
    meant = resolve_held_symbol(table, dataset, wanted.exchange, symbol)
    return rows if rows is not None and meant == symbol else reader.read(replace(wanted, symbol=meant))


def stream_market(
    table: TableFiles, dataset: Dataset, symbol: str, timeframe: str | None, options: Options, *, batch_rows: int
) -> pa.RecordBatchReader:
    """Return the rows of `read_market` as batches of at most `batch_rows`, read one slice of time after the other.

    Raises:
        UnknownNameError: as `read_market`; at once, not at the first batch.
    """
    if batch_rows < 1:
        raise UsageError(f"batch_rows must be at least 1; was {batch_rows}")
    reader, wanted = _prepare(table, dataset, symbol, timeframe, options)
    batches = _batches(reader, wanted, batch_rows) if "/" in symbol else iter(())
    first = next(batches, None)
    if first is None:
        meant = resolve_held_symbol(table, dataset, wanted.exchange, symbol)
        batches = _batches(reader, replace(wanted, symbol=meant), batch_rows)
        first = next(batches, None)
    return pa.RecordBatchReader.from_batches(reader.schema(), chain([] if first is None else [first], batches))


def instant_of(value: Instant | None) -> datetime | None:
    """Return the UTC instant of a zone-aware datetime or an ISO text.

    Raises:
        UsageError: a naive datetime, or an unreadable text.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return parse_instant(value)
    if value.tzinfo is None:
        raise UsageError(f"instants must be zone-aware, like datetime(…, tzinfo=UTC); was {value.isoformat()}")
    return as_utc(value)


def _prepare(
    table: TableFiles, dataset: Dataset, symbol: str, timeframe: str | None, options: Options
) -> tuple[_Reader, MarketRange]:
    first, last = instant_of(options.start), instant_of(options.end)
    if first is not None and last is not None:
        Window(first, last)
    columns = default_columns(dataset) if options.columns is None else tuple(options.columns)
    arrow_schema(dataset, columns)
    exchange = check_exchange(table, options.exchange)
    as_of = instant_of(options.as_of)
    reader = _Reader(table, dataset, tuple(columns), as_of, options.include_backfilled, options.exact)
    return reader, MarketRange(exchange, symbol, timeframe, first, last)


def _batches(reader: _Reader, wanted: MarketRange, batch_rows: int) -> Iterator[pa.RecordBatch]:
    step = timeframe_length(wanted.timeframe) if wanted.timeframe else _SHORTEST_FUNDING_INTERVAL
    for window in _slices(reader, wanted, step * batch_rows):
        rows = reader.read(replace(wanted, start=window.start, end=window.end))
        yield from rows.to_batches(max_chunksize=batch_rows)


def _slices(reader: _Reader, wanted: MarketRange, length: timedelta) -> Iterator[Window]:
    """Yield the range in slices, without the times that no file can hold by its statistics."""
    for at, end in _held_ranges(reader, wanted):
        while at < end:
            yield Window(at, min(at + length, end))
            at += length


def _held_ranges(reader: _Reader, wanted: MarketRange) -> list[tuple[datetime, datetime]]:
    ranges: list[tuple[datetime, datetime]] = []
    for low, high in sorted(_file_ranges(reader, wanted)):
        if ranges and low <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(high, ranges[-1][1]))
        else:
            ranges.append((low, high))
    return ranges


def _file_ranges(reader: _Reader, wanted: MarketRange) -> Iterator[tuple[datetime, datetime]]:
    """Yield what each file covers of the range."""
    for file in reader.table.holding(wanted.bounds(reader.dataset)):
        low, high = file.bounds.get(reader.dataset.time_column, (None, None))
        if low is None or high is None:
            raise DataError(f"the log does not state the times of {file.path}; read the range whole, without batches")
        after = high + timedelta(microseconds=1)
        yield max(low, wanted.start or low), min(after, wanted.end or after)
