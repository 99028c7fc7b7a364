"""Rows that are few enough for the driver: an Arrow table becomes a frame without a Python worker or a scan."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

# Up to here the driver is faster than tasks that start workers first; measured with one-minute candles.
FEW_BYTES = 8 << 20
FEW_ROWS = 250_000


def arrow_frame(spark: SparkSession, batches: Iterable[pa.RecordBatch], ddl: str) -> DataFrame:
    """Return the batches as a frame of this schema, given as Spark DDL."""
    held = list(batches)
    return spark.createDataFrame(pa.Table.from_batches(held) if held else [], ddl)
