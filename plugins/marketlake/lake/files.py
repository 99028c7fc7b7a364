"""What a Delta table consists of now: its data files with their statistics, and which of them can hold a range.

Read from the transaction log alone, without a JVM and without opening a data file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from marketlake.errors import DataError, UsageError

# Column → inclusive lowest and highest value; None where that side is open or not recorded.
Bounds = Mapping[str, tuple[Any, Any]]
# Inode, modification time in ns and size of a commit's file.
CommitStamp = tuple[int, int, int]
# Columns whose statistics decide which files are opened and whether rows need ranking.
STATED_COLUMNS = ("symbol", "source", "revision", "known_at", "partition_date", "partition_asset_pair")
# Statistics are cut to milliseconds, so the true maximum may lie up to this much higher.
_STATISTICS_UNIT = timedelta(milliseconds=1)


@dataclass(frozen=True)
class LakeFile:
    """One data file: absolute path, size in bytes, rows, and the bounds of its columns as the log states them."""

    path: str
    bytes: int
    rows: int
    bounds: Bounds
    partitions: Mapping[str, str | None]

    def can_hold(self, wanted: Bounds) -> bool:
        """Whether the file may hold a row inside all the bounds; what the log does not state may be anything."""
        return all(_overlaps(self.bounds.get(column), bound) for column, bound in wanted.items())

    def is_inside(self, column: str, wanted: tuple[Any, Any]) -> bool:
        """Whether the log states that every row of the file is inside the bound."""
        low, high = self.bounds.get(column, (None, None))
        first, last = wanted
        starts = first is None or (low is not None and low >= first)
        return starts and (last is None or (high is not None and high <= last))


@dataclass(frozen=True, eq=False)
class TableFiles:
    """The files of one version of a table."""

    name: str
    root: str
    version: int
    schema: pa.Schema
    partition_columns: tuple[str, ...]
    files: tuple[LakeFile, ...]

    def holding(self, wanted: Bounds) -> list[LakeFile]:
        """Return the files that may hold a row inside all the bounds."""
        return [file for file in self.files if file.can_hold(wanted)]

    def partition_values(self, column: str) -> list[str]:
        """Return the sorted values of one partition column."""
        return sorted({value for file in self.files if (value := file.partitions[column]) is not None})


def table_path(root: str, name: str) -> str:
    """Return the folder of a table named `<layer>.<table>` below the lake's root."""
    layer, _, table = name.partition(".")
    return f"{root.rstrip('/')}/{layer}/{table}"


def table_names(root: str) -> list[str]:
    """Return the names of all tables in the lake, as `<layer>.<table>`, sorted."""
    logs = Path(root).glob("*/*/_delta_log")
    return sorted(f"{log.parent.parent.name}.{log.parent.name}" for log in logs)


def open_table(root: str, name: str) -> DeltaTable:
    """Return the Delta table of this name.

    Raises:
        UsageError: the lake has no such table; the text names those it has.
        DataError: its transaction log cannot be read.
    """
    try:
        return DeltaTable(table_path(root, name))
    except TableNotFoundError:
        known = ", ".join(table_names(root)) or "none yet: load something with `marketlake run`"
        raise UsageError(f"the lake at {root} has no table {name!r}; its tables: {known}") from None
    except Exception as error:  # deltalake raises plain exceptions for a damaged log
        raise DataError(f"the log of table {name} at {table_path(root, name)} cannot be read: {error}") from error


def commit_stamp(table: TableFiles) -> CommitStamp | None:
    """Return what tells the newest commit of a table from any other, None once there is a newer one.

    Costs two look-ups of a name, where opening the table reads its log.
    """
    log = Path(table.root) / "_delta_log"
    if (log / f"{table.version + 1:020}.json").exists():
        return None
    try:
        found = (log / f"{table.version:020}.json").stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def files_of(table: DeltaTable, name: str, columns: Iterable[str]) -> TableFiles:
    """Return the files of an opened table, with bounds for the partition columns and for these columns."""
    # Not pa.table(…), which imports pandas to see whether it was given a frame of its.
    actions = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
    metadata = table.metadata()
    partitions = tuple(metadata.partition_columns)
    root = table.table_uri.removeprefix("file://").rstrip("/")
    stated = [column for column in columns if f"min.{column}" in actions.column_names]
    wanted = ["path", "size_bytes", "num_records", *(f"partition.{column}" for column in partitions)]
    wanted += [f"{side}.{column}" for column in stated for side in ("min", "max")]
    rows = actions.select([column for column in wanted if column in actions.column_names]).to_pylist()
    return TableFiles(
        name=name,
        root=root,
        version=table.version(),
        schema=pa.schema(table.schema().to_arrow()),
        partition_columns=partitions,
        files=tuple(_file(row, root, partitions, stated) for row in rows),
    )


def month_bounds(start: datetime | None, end: datetime | None) -> tuple[str | None, str | None]:
    """Return the first and last `partition_month` of a half-open range, None on an open side."""
    last = None if end is None else end - timedelta(microseconds=1)
    return (start.strftime("%Y-%m") if start else None, last.strftime("%Y-%m") if last else None)


def _file(row: dict[str, Any], root: str, partitions: tuple[str, ...], stated: list[str]) -> LakeFile:
    values = {column: row.get(f"partition.{column}") for column in partitions}
    bounds: dict[str, tuple[Any, Any]] = {column: (value, value) for column, value in values.items()}
    for column in stated:
        high = row[f"max.{column}"]
        bounds[column] = (row[f"min.{column}"], high + _STATISTICS_UNIT if isinstance(high, datetime) else high)
    return LakeFile(f"{root}/{row['path']}", row["size_bytes"], row["num_records"] or 0, bounds, values)


def _overlaps(stated: tuple[Any, Any] | None, wanted: tuple[Any, Any]) -> bool:
    if stated is None:
        return True
    low, high = stated
    first, last = wanted
    is_above = low is not None and last is not None and low > last
    is_below = high is not None and first is not None and high < first
    return not (is_above or is_below)
