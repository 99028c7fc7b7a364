"""Compaction of the partitions that a run wrote, without a JVM (LAKE-19; design, rule 12).

Small files of daily loads become sorted files of 16–32 MiB. No row changes; a table of which one would is put back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import duckdb
import psycopg
from deltalake import DeltaTable

from marketlake.crash import crash_point
from marketlake.datasets import DATASETS, Dataset
from marketlake.errors import DataError, UsageError
from marketlake.instants import Window
from marketlake.lake.files import LakeFile, TableFiles, files_of, open_table
from marketlake.lake.rewriting import rewrite_files
from marketlake.ledger import table_lease
from marketlake.settings import Settings

TARGET_BYTES = 24 << 20
# In memory rows take some ten times as much.
_LARGEST_GROUP_BYTES = 4 * TARGET_BYTES
_LOG = logging.getLogger(__name__)
# Partition column → value; columns that are not named may have any.
Partition = Mapping[str, str]


def compact_loads(settings: Settings, connection: psycopg.Connection, load_ids: Sequence[str]) -> dict[str, Any]:
    """Compact, under each table's lease, what the loads wrote; return files before and after by table."""
    result: dict[str, Any] = {}
    for dataset in DATASETS.values():
        partitions = written_partitions(connection, dataset, load_ids)
        if not partitions:
            continue
        with table_lease(settings, dataset.table):
            removed, added = compact_partitions(settings.lake_root, dataset.table, partitions)
        if removed:
            result[dataset.table] = {"files_before": removed, "files_after": added}
    return result or {"skipped": "the run left no partition with small files"}


def compact_partitions(root: str, table: str, partitions: Iterable[Partition]) -> tuple[int, int]:
    """Join the small files of each partition; return how many files were replaced and by how many. Hold the lease.

    Raises:
        DataError: the partitions have other rows afterwards; the table was restored to the version before.
    """
    try:
        delta = open_table(root, table)
    except UsageError:
        return 0, 0
    files = files_of(delta, table, ["symbol"])
    touched = [found for partition in partitions for found in _small_files(files, partition) if len(found[1]) > 1]
    before, digests = delta.version(), [content_digest(delta, partition) for partition, _ in touched]
    removed = added = 0
    for _, small in touched:
        for group in _together(small):
            added += rewrite_files(delta, group, sorted_by=_order(table), target_bytes=TARGET_BYTES)
            removed += len(group)
        crash_point("compaction.before_check")
    if removed:
        _check_content(delta, table, before, [partition for partition, _ in touched], digests)
        _LOG.info("%s: %d small files became %d", table, removed, added)
    return removed, added


def content_digest(delta: DeltaTable, partition: Partition) -> tuple[int, int]:
    """Return the number of rows of a partition and an order-free hash over all columns of all of them."""
    rows = delta.to_pyarrow_dataset(partitions=_filters(partition))
    columns = ", ".join(f'"{name}"' for name in sorted(rows.schema.names))
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.execute(f"select count(*), coalesce(sum(hash({columns})), 0) from rows").fetchone()
    return (int(found[0]), int(found[1])) if found else (0, 0)


def written_partitions(
    connection: psycopg.Connection, dataset: Dataset, load_ids: Sequence[str]
) -> list[dict[str, str]]:
    """Return the partitions of the dataset's table in which the loads changed rows, in order."""
    rows = connection.execute(
        "select distinct changes.exchange, changes.timeframe, changes.range_start, changes.range_end"
        " from ops.changes inner join ops.loads on changes.load_id = loads.load_id and loads.step = 'loaded'"
        " where changes.load_id = any(%s) and changes.dataset = %s and loads.delta_version is not null",
        [list(load_ids), dataset.name],
    ).fetchall()
    found = set[tuple[tuple[str, str], ...]]()
    for exchange, timeframe, start, end in rows:
        for day in _days(Window(start, end)):
            known = {
                "exchange": exchange,
                "timeframe": timeframe,
                "partition_month": f"{day:%Y-%m}",
                "partition_date": f"{day:%Y-%m-%d}",
            }
            found.add(tuple((name, known[name]) for name in dataset.partitioned_by))
    return [dict(partition) for partition in sorted(found)]


def _days(window: Window) -> list[date]:
    last = max(window.start, window.end - timedelta(microseconds=1)).date()
    return [window.start.date() + timedelta(days=count) for count in range((last - window.start.date()).days + 1)]


def _small_files(files: TableFiles, wanted: Partition) -> list[tuple[dict[str, str], list[LakeFile]]]:
    """Return the partitions that are wanted with their small files, neighbours by symbol beside each other."""
    found = dict[tuple[str, ...], list[LakeFile]]()
    for file in files.files:
        values = {column: str(value) for column, value in file.partitions.items()}
        if file.bytes < TARGET_BYTES // 2 and values.items() >= wanted.items():
            found.setdefault(tuple(values.values()), []).append(file)
    return [
        (
            dict(zip(files.partition_columns, values, strict=True)),
            sorted(small, key=lambda file: str(file.bounds.get("symbol", ("", ""))[0])),
        )
        for values, small in sorted(found.items())
    ]


def _together(files: Sequence[LakeFile]) -> Iterator[list[LakeFile]]:
    """Yield the files in groups that fit in memory; what is left over joins the last one."""
    group, size = list[LakeFile](), 0
    for number, file in enumerate(files, start=1):
        group.append(file)
        size += file.bytes
        if size >= _LARGEST_GROUP_BYTES and number < len(files) - 1:
            yield group
            group, size = [], 0
    yield group


def _order(table: str) -> tuple[str, ...]:
    found = [dataset.sorted_by for dataset in DATASETS.values() if dataset.table == table]
    return found[0] if found else ("symbol",)


def _check_content(
    delta: DeltaTable, table: str, before: int, touched: Sequence[Partition], digests: Sequence[tuple[int, int]]
) -> None:
    now = DeltaTable(delta.table_uri)
    for partition, digest in zip(touched, digests, strict=True):
        found = content_digest(now, partition)
        if found != digest:
            now.restore(before)
            where = "/".join(partition.values())
            raise DataError(
                f"compacting {table} changed the content of {where} from {digest} (rows, hash) to {found}; it was"
                f" restored to version {before}"
            )


def _filters(partition: Partition) -> list[tuple[str, str, str]]:
    return [(column, "=", value) for column, value in partition.items()]
