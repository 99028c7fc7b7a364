"""COPY of a range's current rows: a part is sent while the next one is read from the lake and encoded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import polars as pl
import psycopg
import pyarrow as pa
from psycopg import sql

from marketlake.crash import crash_point
from marketlake.datasets import Dataset
from marketlake.instants import DAY, Window, floor_instant
from marketlake.lake.files import TableFiles
from marketlake.lake.reading import MarketRange, read_range
from marketlake.publish.binary_rows import HEADER, TRAILER, binary_rows
from marketlake.timeframes import grid_count

# A month of 1m candles has as many.
_PART_ROWS = 40_000
_T = TypeVar("_T")


@dataclass(frozen=True)
class Sent:
    """How many rows were sent, and the sum of the first words of their digests, which order does not change."""

    rows: int = 0
    words: int = 0


@dataclass(frozen=True)
class _Part:
    sent: Sent
    blocks: list[bytes | memoryview]


def copy_range(
    cursor: psycopg.Cursor[Any], target: sql.Identifier, table: TableFiles, dataset: Dataset, wanted: MarketRange
) -> Sent:
    """Copy the current rows of a range, all columns, into a table of Postgres; the range has a start and an end."""
    columns = sql.SQL(", ").join(map(sql.Identifier, dataset.column_names))
    sent = Sent()
    with cursor.copy(sql.SQL("copy {} ({}) from stdin (format binary)").format(target, columns)) as copy:
        copy.write(HEADER)
        for part in _one_ahead(_parts(table, dataset, wanted)):
            for block in part.blocks:
                copy.write(block)
            crash_point("publish.in_copy")
            sent = Sent(sent.rows + part.sent.rows, sent.words + part.sent.words)
        copy.write(TRAILER)
    return sent


def _parts(table: TableFiles, dataset: Dataset, wanted: MarketRange) -> Iterator[_Part]:
    for window in _slices(dataset, wanted):
        rows = read_range(table, dataset, replace(wanted, start=window.start, end=window.end), dataset.column_names)
        # A slice of trades can be larger than what should wait in memory as rows.
        for start in range(0, max(rows.num_rows, 1), 2 * _PART_ROWS):
            yield _part(rows.slice(start, 2 * _PART_ROWS))


def _part(rows: pa.Table) -> _Part:
    words = pl.Series(rows.column("digest")).str.slice(3, 8).str.to_integer(base=16, dtype=pl.Int64).sum()
    batches = rows.combine_chunks().to_batches()
    return _Part(Sent(rows.num_rows, int(words or 0)), [block for batch in batches for block in binary_rows(batch)])


def _slices(dataset: Dataset, wanted: MarketRange) -> Iterator[Window]:
    """Cut the range where partitions begin, so that no file is read twice, into slices that are worth a read."""
    start, end = wanted.start, wanted.end
    assert start is not None
    assert end is not None
    at = start
    while start < end:
        at = min(_next_partition(dataset, at), end)
        few = wanted.timeframe is not None and grid_count(Window(start, at), wanted.timeframe) < _PART_ROWS
        if at == end or not few:
            yield Window(start, at)
            start = at


def _next_partition(dataset: Dataset, instant: datetime) -> datetime:
    if "partition_date" in dataset.partitioned_by:
        return floor_instant(instant, DAY) + DAY
    if "partition_month" in dataset.partitioned_by:
        return (floor_instant(instant, DAY).replace(day=1) + 32 * DAY).replace(day=1)
    return datetime.max.replace(tzinfo=instant.tzinfo)


def _one_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield the items while the next one is being made in another thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="publish") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
