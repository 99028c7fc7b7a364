"""The digest once more, in Spark's SQL: an independent statement of what `spark_jobs.bronze.digests` computes."""

from __future__ import annotations

from marketlake.datasets import ColumnType, Dataset


def digest_sql(dataset: Dataset) -> str:
    """Return the expression of a row's digest."""
    parts = []
    for column in dataset.value_columns:
        written = f"cast({column.name} as string)"
        if column.type is ColumnType.DECIMAL:
            written = f"trim(trailing '.' from trim(trailing '0' from {written}))"
        elif column.type is ColumnType.INSTANT:
            written = f"cast(unix_millis({column.name}) * 1000 as string)"
        parts.append(f"concat('{column.name}=', {written})")
    return f"concat('v1:', left(sha2(concat_ws('|', {', '.join(parts)}), 256), 32))"
