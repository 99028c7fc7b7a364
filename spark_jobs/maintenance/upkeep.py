"""Care of a table's files: clustering and removal of what nothing refers to (LAKE-19, LAKE-21). Hold the lease."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from marketlake.datasets import DATASETS
from marketlake.errors import DataError, UsageError
from marketlake.lake.files import open_table, table_path

RETENTION_HOURS = 720
SHORTEST_RETENTION_HOURS = 168


def optimize_table(
    spark: SparkSession,
    root: str,
    table_name: str,
    zorder_columns: Sequence[str] | None = None,
    where: str | None = None,
) -> dict[str, Any]:
    """Compact and Z-order the table, or its partitions that satisfy `where`; return files and bytes before and after.

    The columns are the dataset's own order (symbol and time) unless given. Row count and content digest stay.

    Raises:
        UsageError: a partition column is named in `zorder_columns`, or there is no such table.
        DataError: the content differed afterwards; the table was restored to the version before.
    """
    held = open_table(root, table_name)
    columns = list(zorder_columns or _default_columns(table_name))
    wrong = sorted(set(columns) & set(held.metadata().partition_columns))
    if wrong:
        raise UsageError(f"zorder_columns of {table_name} must not name partition columns; were {', '.join(wrong)}")
    path = table_path(root, table_name)
    table = DeltaTable.forPath(spark, path)
    before, digest = held.version(), content_digest(table.toDF())
    optimizer = table.optimize() if where is None else table.optimize().where(where)
    metrics = optimizer.executeZOrderBy(*columns).select("metrics.*").first()
    after = content_digest(DeltaTable.forPath(spark, path).toDF())
    if after != digest:
        table.restoreToVersion(before)
        raise DataError(
            f"optimizing {table_name} changed its content from {digest} to {after}; it was restored to version {before}"
        )
    found = metrics.asDict(recursive=True) if metrics is not None else {}
    return {
        "files_removed": found.get("numFilesRemoved", 0),
        "files_added": found.get("numFilesAdded", 0),
        "rows": digest[0],
    }


def vacuum_table(
    root: str,
    table_name: str,
    retention_hours: int = RETENTION_HOURS,
    *,
    is_dry_run: bool = False,
    allow_short_retention: bool = False,
) -> list[str]:
    """Delete files that no version of the last hours refers to; return their paths, which a dry run only lists.

    Files that no version ever referred to are among them: what a killed load wrote before its commit.

    Raises:
        UsageError: fewer than 168 hours without `allow_short_retention`: readers and time travel would break.
    """
    if retention_hours < SHORTEST_RETENTION_HOURS and not allow_short_retention:
        raise UsageError(
            f"retention_hours must be at least {SHORTEST_RETENTION_HOURS}; was {retention_hours}. Readers of older "
            "versions would break; pass allow_short_retention=True to do it all the same"
        )
    table = open_table(root, table_name)
    return table.vacuum(
        retention_hours=retention_hours, dry_run=is_dry_run, enforce_retention_duration=False, full=True
    )


def content_digest(frame: DataFrame) -> tuple[int, int]:
    """Return the number of rows and an order-free hash over all columns of all rows."""
    hashed = F.xxhash64(*sorted(frame.columns)).cast("decimal(38,0)")
    row = frame.agg(F.count("*"), F.coalesce(F.sum(hashed), F.lit(0))).first()
    return (int(row[0]), int(row[1])) if row is not None else (0, 0)


def _default_columns(table_name: str) -> Sequence[str]:
    for dataset in DATASETS.values():
        if dataset.table == table_name:
            return dataset.sorted_by
    raise UsageError(f"zorder_columns must be given for {table_name}, which is no dataset's table")
