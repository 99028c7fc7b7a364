"""Parquet files of a Delta table, written by Arrow without Spark: in executors, or on the driver for few rows.

Owns their layout, names and statistics. A reader decodes whole row groups, so a group that holds one symbol costs a
reader of another symbol nothing. Until a transaction names a file it is nobody's; vacuum removes what is left.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from marketlake.datasets.columns import MAX_ROWS_PER_FILE, MAX_ROWS_PER_ROW_GROUP

# A row group is not ended for a symbol that has fewer rows.
_LEAST_ROWS = MAX_ROWS_PER_ROW_GROUP // 4
# Rows that are kept until whole groups of them are written.
_WAITING_ROWS = 8 * MAX_ROWS_PER_ROW_GROUP
# Statistics of longer texts would have to be cut, and those of a digest say nothing.
_LONGEST_STATED = 32
# Texts that differ in every row gain nothing from a dictionary.
_DISTINCT_TEXTS = ("digest", "trade_id", "raw_payload")


@dataclass(frozen=True)
class DataFile:
    """A written file: path below the table, bytes, rows, partition values, Delta's statistics as JSON.

    `parts` says where its rows come from: pairs of the number that the writer was given and how many rows followed.
    """

    path: str
    bytes: int
    rows: int
    partition: dict[str, str]
    stats: str
    parts: list[tuple[int, int]]


class DataFileWriter:
    """Writes rows as they come; a file holds one partition, and neighbours of the same partition share one.

    `schema` has the partition columns too; rows should come partition by partition, in the table's order.
    """

    def __init__(
        self, folder: str, schema: pa.Schema, partitioned_by: Sequence[str] = (), *, name: str = "part"
    ) -> None:
        self._folder = Path(folder)
        self._names = list(partitioned_by)
        self._schema = pa.schema([field for field in schema if field.name not in self._names])
        self._prefix = name
        self._open: _OpenFile | None = None
        self._done = list[DataFile]()

    def write(self, rows: pa.Table, number: int = 0) -> None:
        """Write rows that come from the source of this number."""
        for partition, part in _by_partition(rows, self._names):
            if self._open is not None and not self._open.can_take(partition, part.num_rows):
                self._close_file()
            if self._open is None:
                self._open = _OpenFile(self._folder, self._schema, partition, self._prefix)
            self._open.write(part, number)

    def close(self) -> list[DataFile]:
        """Finish the last file; return all of them."""
        self._close_file()
        return self._done

    def _close_file(self) -> None:
        if self._open is not None:
            self._done.append(self._open.close())
        self._open = None


class _OpenFile:
    """One file that is being written; its rows are kept until they fill a row group."""

    def __init__(self, folder: Path, schema: pa.Schema, partition: dict[str, str], prefix: str) -> None:
        below = "".join(f"{name}={quote(value, safe=' ')}/" for name, value in partition.items())
        self.partition = partition
        self._schema = schema
        self._path = f"{below}{prefix}-{uuid.uuid4()}.parquet"
        self._absolute = folder / self._path
        self._absolute.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._absolute, schema, **writer_options(schema))
        self._waiting = list[pa.Table]()
        self._waiting_rows = self._rows = 0
        self._parts = list[tuple[int, int]]()

    def can_take(self, partition: dict[str, str], count: int) -> bool:
        return partition == self.partition and self._rows + count <= MAX_ROWS_PER_FILE

    def write(self, rows: pa.Table, number: int) -> None:
        self._waiting.append(rows.select(self._schema.names).cast(self._schema))
        self._waiting_rows += rows.num_rows
        self._rows += rows.num_rows
        if self._parts and self._parts[-1][0] == number:
            self._parts[-1] = (number, self._parts[-1][1] + rows.num_rows)
        else:
            self._parts.append((number, rows.num_rows))
        if self._waiting_rows >= _WAITING_ROWS:
            rest = write_groups(self._writer, pa.concat_tables(self._waiting), "symbol", is_end=False)
            self._waiting, self._waiting_rows = [rest], rest.num_rows

    def close(self) -> DataFile:
        if self._waiting_rows:
            write_groups(self._writer, pa.concat_tables(self._waiting), "symbol")
        self._writer.close()
        metadata = pq.read_metadata(self._absolute)
        size = self._absolute.stat().st_size
        return DataFile(self._path, size, self._rows, self.partition, statistics(metadata), self._parts)


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Return what a Parquet writer of a lake's file is told."""
    texts = [field.name for field in schema if pa.types.is_string(field.type) and field.name not in _DISTINCT_TEXTS]
    numbers = [field.name for field in schema if pa.types.is_timestamp(field.type) or pa.types.is_integer(field.type)]
    return {
        "compression": {_leaf(field): _codec(field) for field in schema},
        "use_dictionary": texts,
        "column_encoding": dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        "store_schema": False,
    }


def _codec(field: pa.Field) -> str:
    """Return LZ4 for decimals, whose bytes zstd packs a third smaller but unpacks at half the speed."""
    return "lz4" if pa.types.is_decimal(field.type) else "zstd"


def _leaf(field: pa.Field) -> str:
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else str(field.name)


def write_groups(writer: pq.ParquetWriter, rows: pa.Table, symbol: str, *, is_end: bool = True) -> pa.Table:
    """Write rows in groups that end where a symbol, by the column of this name, ends; return those left over.

    None are at the end; before it the last group is, which the next rows may go on with.
    """
    groups = list(_groups(rows.column(symbol) if symbol in rows.column_names else None, rows.num_rows))
    for start, end in groups if is_end else groups[:-1]:
        writer.write_table(rows.slice(start, end - start), row_group_size=MAX_ROWS_PER_ROW_GROUP)
    return rows.slice(rows.num_rows if is_end else groups[-1][0])


def _groups(symbols: pa.ChunkedArray | None, count: int) -> Iterator[tuple[int, int]]:
    """Yield where row groups start and end: full ones within a symbol, shorter ones at its end."""
    start, ends = 0, [count]
    if symbols is not None:
        codes = symbols.combine_chunks().dictionary_encode().indices.to_numpy()
        ends = [*(np.flatnonzero(np.diff(codes)) + 1).tolist(), count]
    for end in ends:
        while end - start > MAX_ROWS_PER_ROW_GROUP:
            yield start, start + MAX_ROWS_PER_ROW_GROUP
            start += MAX_ROWS_PER_ROW_GROUP
        if end - start >= _LEAST_ROWS or end == count:
            yield start, end
            start = end


def remove_files(folder: str, files: Sequence[DataFile]) -> None:
    """Remove files that no transaction names."""
    for file in files:
        (Path(folder) / file.path).unlink(missing_ok=True)


def _by_partition(rows: pa.Table, names: Sequence[str]) -> Iterator[tuple[dict[str, str], pa.Table]]:
    """Yield the rows in their order, cut where a partition value changes."""
    if not rows.num_rows:
        return
    codes = np.zeros(rows.num_rows, dtype=np.int64)
    for name in names:
        encoded = rows.column(name).combine_chunks().dictionary_encode()
        codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist()]
    for start, end in zip(starts, [*starts[1:], rows.num_rows], strict=True):
        values = {name: partition_text(rows.column(name)[start].as_py()) for name in names}
        yield values, rows.slice(start, end - start)


def partition_text(value: object) -> str:
    """Return a partition value as a table's log has it."""
    return value.isoformat() if isinstance(value, date) else str(value)


def statistics(metadata: pq.FileMetaData) -> str:
    """Return Delta's statistics of a file, from the file's own."""
    lowest, highest, nulls = dict[str, str](), dict[str, str](), dict[str, int]()
    for place in range(metadata.num_columns):
        groups = [metadata.row_group(number).column(place) for number in range(metadata.num_row_groups)]
        name, stated = groups[0].path_in_schema, [group.statistics for group in groups]
        if "." in name or not all(stated):
            continue
        nulls[name] = sum(one.null_count for one in stated)
        bounds = [(one.min, one.max) for one in stated if one.has_min_max]
        if bounds and _is_stated(bounds[0][0]) and all(_is_stated(high) for _, high in bounds):
            lowest[name] = _json_value(min(low for low, _ in bounds))
            highest[name] = _json_value(max(high for _, high in bounds))
    return (
        f'{{"numRecords":{metadata.num_rows},"minValues":{_json(lowest)},"maxValues":{_json(highest)},'
        f'"nullCount":{json.dumps(nulls)}}}'
    )


def _is_stated(value: object) -> bool:
    # Delta has no bounds of booleans.
    return not isinstance(value, bool | bytes) and not (isinstance(value, str) and len(value) > _LONGEST_STATED)


def _json(values: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in values.items()) + "}"


def _json_value(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        # Cut to milliseconds as Spark does; readers allow for it.
        utc = value.astimezone(UTC)
        return f'"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"'
    return json.dumps(value.isoformat() if isinstance(value, date) else value)
