"""Rows of one market out of a table's files: current, as known at an instant, or every revision.

Files that cannot hold the range are never opened, and what the statistics of a file say of all its rows is not tested
again. Where they say that every key occurs once, the rows are the current ones already; otherwise they are ranked,
months beside each other in threads, since rows of other instants do not change which one is current.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, reduce
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from marketlake.datasets import Dataset
from marketlake.datasets.current import current_rows_sql, first_rows_sql
from marketlake.lake.files import Bounds, LakeFile, TableFiles, month_bounds
from marketlake.lake.ranking import RANKING_COLUMNS, current_rows
from marketlake.lake.schemas import arrow_schema

# What the ranking in SQL needs beside the key.
_RANKING = (*RANKING_COLUMNS, "known_at")
BACKFILLED = pa.field("is_backfilled", pa.bool_())
# Files are ranked apart from others if they have so many rows; of fewer a scan takes longer to begin than to do.
_PART_ROWS = 100_000
_THREADS_PER_CORE = 2


@dataclass(frozen=True)
class MarketRange:
    """What to read: one market's rows with `start <= time < end`; None leaves a side open."""

    exchange: str
    symbol: str
    timeframe: str | None
    start: datetime | None = None
    end: datetime | None = None

    def bounds(self, dataset: Dataset) -> dict[str, tuple[Any, Any]]:
        """Return the inclusive bounds by column that every row of the range satisfies."""
        last = None if self.end is None else self.end - timedelta(microseconds=1)
        wanted: dict[str, tuple[Any, Any]] = {
            "exchange": (self.exchange, self.exchange),
            "symbol": (self.symbol, self.symbol),
            dataset.time_column: (self.start, last),
        }
        if self.timeframe is not None:
            wanted["timeframe"] = (self.timeframe, self.timeframe)
        if "partition_month" in dataset.partitioned_by:
            wanted["partition_month"] = month_bounds(self.start, self.end)
        return wanted


def read_range(
    table: TableFiles,
    dataset: Dataset,
    wanted: MarketRange,
    columns: Sequence[str],
    *,
    as_of: datetime | None = None,
    include_backfilled: bool = False,
) -> pa.Table:
    """Return the current rows of a range in time order, values exact, as they were known at `as_of` (default: now).

    With `include_backfilled`, keys first known after `as_of` add the row by which they became known; the column
    `is_backfilled` tells them.
    """
    bounds = wanted.bounds(dataset)
    if as_of is not None and not include_backfilled:
        bounds["known_at"] = (None, as_of)
    if as_of is not None and include_backfilled:
        return _ranked(table, dataset, bounds, columns, as_of)
    files = table.holding(bounds)
    if _is_plain(files):
        return _current(table, dataset, bounds, columns, files)
    if dataset.time_column not in dataset.key:
        return _ranked(table, dataset, bounds, columns, None)
    parts = _apart(files, dataset.time_column)
    # NumPy and polars let go of Python's lock, and while some parts wait for polars, others are ranked.
    with ThreadPoolExecutor(min(len(parts), _THREADS_PER_CORE * (os.cpu_count() or 1))) as pool:
        return pa.concat_tables(pool.map(lambda part: _current(table, dataset, bounds, columns, part), parts))


def _current(
    table: TableFiles,
    dataset: Dataset,
    bounds: dict[str, tuple[Any, Any]],
    columns: Sequence[str],
    files: list[LakeFile],
) -> pa.Table:
    """Return the current rows of files which hold all rows of their instants, in time order."""
    is_plain = _is_plain(files)
    needed = dict.fromkeys([*columns, dataset.time_column, *(() if is_plain else RANKING_COLUMNS)])
    rows = _scan(files, table, dataset, bounds, list(needed)).collect()
    if is_plain:
        return _shaped(_in_time_order(rows, dataset.time_column), dataset, columns)
    return _shaped(current_rows(rows, dataset.time_column, columns), dataset, columns)


def _ranked(
    table: TableFiles,
    dataset: Dataset,
    bounds: dict[str, tuple[Any, Any]],
    columns: Sequence[str],
    as_of: datetime | None,
) -> pa.Table:
    """Return the current rows, ranked by DuckDB; with `as_of` those of then and what became known later, flagged."""
    needed = list(dict.fromkeys([*columns, *dataset.key, *_RANKING]))
    rows = scan(table, dataset, bounds, needed).sort(dataset.time_column).collect()
    if as_of is None and not rows.select(dataset.key).is_duplicated().any():
        return _shaped(rows.filter(~pl.col("is_retracted")), dataset, columns)
    known = rows if as_of is None else rows.filter(pl.col("known_at") <= as_of)
    current = _rank(current_rows_sql, known, dataset, columns)
    if as_of is None:
        return current
    late = rows.filter(pl.col("known_at") > as_of)
    first = late.join(known, on=list(dataset.key), how="anti")
    added = _rank(first_rows_sql, first, dataset, columns)
    both = pa.concat_tables(
        [_flagged(current, False), _flagged(added, True)],
    )
    return both.sort_by(dataset.time_column) if dataset.time_column in columns else both


def scan(
    table: TableFiles, dataset: Dataset, bounds: dict[str, tuple[Any, Any]], columns: Sequence[str]
) -> pl.LazyFrame:
    """Return a lazy frame of the rows inside the bounds, of the files that may hold such rows only."""
    return _scan(table.holding(bounds), table, dataset, bounds, columns)


def _scan(
    files: list[LakeFile],
    table: TableFiles,
    dataset: Dataset,
    bounds: dict[str, tuple[Any, Any]],
    columns: Sequence[str],
) -> pl.LazyFrame:
    schema = _polars_schema(arrow_schema(dataset, columns))
    if not files:
        return pl.LazyFrame(schema=schema)
    named = [column for column in table.partition_columns if column in columns]
    parts = [
        _scan_files(group, table, schema, _predicate(left, table.partition_columns))
        for left, group in _alike(files, named, bounds, dataset.time_column)
    ]
    return pl.concat(parts)


def _scan_files(files: list[LakeFile], table: TableFiles, schema: pl.Schema, inside: pl.Expr | None) -> pl.LazyFrame:
    partitions = {column: files[0].partitions[column] for column in table.partition_columns if column in schema}
    lazy = pl.scan_parquet(
        [file.path for file in files],
        hive_partitioning=False,
        glob=False,
        missing_columns="insert",
        extra_columns="ignore",
        schema={**_stored_schema(table)},
        cast_options=pl.ScanCastOptions(datetime_cast=["nanosecond-downcast", "convert-timezone"]),
    )
    if inside is not None:
        lazy = lazy.filter(inside)
    return lazy.with_columns(**{name: pl.lit(value, pl.String) for name, value in partitions.items()}).select(
        [pl.col(name).cast(dtype) for name, dtype in schema.items()]
    )


@lru_cache(maxsize=64)
def _polars_schema(schema: pa.Schema) -> pl.Schema:
    return pl.DataFrame(schema.empty_table()).schema


def _stored_schema(table: TableFiles) -> pl.Schema:
    return _polars_schema(pa.schema([field for field in table.schema if field.name not in table.partition_columns]))


def _alike(
    files: Iterable[LakeFile], named: Sequence[str], bounds: Bounds, time_column: str
) -> Iterator[tuple[Bounds, list[LakeFile]]]:
    """Yield neighbours in time that have the same partition values and leave the same bounds to be tested by row."""

    def first_time(file: LakeFile) -> str:
        low, _ = file.bounds.get(time_column, (None, None))
        return "" if low is None else low.isoformat()

    def what_counts(file: LakeFile) -> tuple[tuple[str, ...], tuple[str, ...]]:
        left = tuple(column for column, bound in bounds.items() if not file.is_inside(column, bound))
        return tuple(file.partitions[column] or "" for column in named), left

    for (_, left), group in groupby(sorted(files, key=first_time), key=what_counts):
        yield {column: bounds[column] for column in left}, list(group)


def _apart(files: list[LakeFile], time_column: str) -> list[list[LakeFile]]:
    """Return the files in parts that have no instant in common, in time order."""
    times = {file.path: file.bounds.get(time_column, (None, None)) for file in files}
    if any(None in bound for bound in times.values()):
        return [files]
    parts, rows, last = list[list[LakeFile]](), 0, None
    for file in sorted(files, key=lambda file: times[file.path]):
        low, high = times[file.path]
        if last is None or (low > last and rows >= _PART_ROWS):
            parts.append([])
            rows = 0
        parts[-1].append(file)
        rows += file.rows
        last = high if last is None else max(last, high)
    return parts


def _predicate(bounds: Bounds, partitions: Sequence[str]) -> pl.Expr | None:
    tests = []
    for column, (low, high) in bounds.items():
        if column in partitions:
            continue
        if low is not None and low == high:
            tests.append(pl.col(column) == low)
            continue
        if low is not None:
            tests.append(pl.col(column) >= low)
        if high is not None:
            tests.append(pl.col(column) <= high)
    return reduce(lambda left, right: left & right, tests) if tests else None


def _is_plain(files: list[LakeFile]) -> bool:
    """Whether the statistics alone tell that no key has a second row: one source, and nothing was ever restated."""
    sources = {file.bounds.get("source") for file in files}
    revisions = {file.bounds.get("revision") for file in files}
    is_one_source = len(sources) == 1 and all(bound and bound[0] == bound[1] is not None for bound in sources)
    return not files or (is_one_source and revisions == {(0, 0)})


def _in_time_order(rows: pl.DataFrame, time_column: str) -> pl.DataFrame:
    # Files are sorted by time as a rule, and to see that costs less than to sort.
    times = rows.get_column(time_column).to_physical().to_numpy()
    return rows if (times[1:] >= times[:-1]).all() else rows.rechunk()[np.argsort(times, kind="stable")]


def _rank(query: Any, rows: pl.DataFrame, dataset: Dataset, columns: Sequence[str]) -> pa.Table:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("_rows", rows.to_arrow())
        chosen = list(dict.fromkeys([*columns, dataset.time_column]))
        ranked = f"select * from ({query(dataset, '_rows', columns=chosen)}) order by {dataset.time_column}"
        return connection.sql(ranked).to_arrow_table().select(list(columns)).cast(arrow_schema(dataset, columns))


def _shaped(rows: pl.DataFrame, dataset: Dataset, columns: Sequence[str]) -> pa.Table:
    return rows.select(list(columns)).to_arrow().cast(arrow_schema(dataset, columns))


def _flagged(rows: pa.Table, is_backfilled: bool) -> pa.Table:
    return rows.append_column(BACKFILLED, pa.array([is_backfilled] * len(rows), pa.bool_()))
