"""Landed files to typed rows: one frame for all manifests of a dataset that wait.

Rows of a key and source are ordered by `received_at`, then by place in the source; neighbours with equal digests
collapse, because pages overlap and collectors repeat. Nothing is filtered away: each row carries its fate.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from marketlake.datasets import Dataset
from marketlake.landing import LandingArea
from marketlake.work import Manifest
from spark_jobs.bronze.landed_rows import (
    COLLAPSED,
    EXTRA_COLUMNS,
    KEPT,
    LandedSource,
    read_sources,
    typed_batches,
    typed_columns,
    typed_schema,
)
from spark_jobs.lib.arrow import FEW_BYTES, arrow_frame

# Part of every load_id: raise it when the same bytes give other rows than before.
CONFORMER_VERSION = "1"
_FILES_PER_TASK = 4


def conform(spark: SparkSession, manifests: Sequence[Manifest], dataset: Dataset, *, area: LandingArea) -> DataFrame:
    """Return the typed rows of the manifests, with their fate and digest: the columns of `conformed_columns`.

    `place` numbers the rows of a key and source in their order, from 1, repeats included.

    A few files are read at once, many in the executors when the frame is used, by the same reader.

    Raises:
        DataError: a file is not what its reader reads; read in the executors, the action fails that needs it.
    """
    sources = landed_sources(manifests, area)
    if is_small(manifests):
        batches = (batch for source in sources for batch in typed_batches(dataset, source))
        return _collapsed(arrow_frame(spark, batches, typed_schema(dataset)), dataset)
    parts = max(1, min(len(sources), _FILES_PER_TASK * spark.sparkContext.defaultParallelism))
    landed = spark.range(0, len(sources), 1, parts).mapInArrow(read_sources(dataset, sources), typed_schema(dataset))
    return _collapsed(landed, dataset)


def is_small(manifests: Sequence[Manifest]) -> bool:
    """Whether the manifests' files are read on the driver."""
    return sum(file.bytes for manifest in manifests for file in manifest.files) <= FEW_BYTES


def landed_sources(manifests: Sequence[Manifest], area: LandingArea) -> list[LandedSource]:
    """Return every landed file of the manifests, numbered."""
    sources = list[LandedSource]()
    for manifest_no, manifest in enumerate(manifests):
        ends = _window_ends(manifest)
        for answer_no, answer in enumerate(manifest.answers):
            sources += [
                LandedSource(
                    manifest_no=manifest_no,
                    answer_no=answer_no,
                    file_no=file_no,
                    exchange=manifest.exchange,
                    path=str(area.absolute(file.path)),
                    file=file,
                    answer=answer,
                    now=manifest.now,
                    window_end=ends[answer.market.symbol, answer.timeframe],
                )
                for file_no, file in enumerate(answer.files)
            ]
    return sources


def conformed_columns(dataset: Dataset) -> list[str]:
    """Return the names of the columns of conformed rows."""
    return [*(column.name for column in typed_columns(dataset)), *EXTRA_COLUMNS, "place"]


def _window_ends(manifest: Manifest) -> dict[tuple[str, str], datetime]:
    """Return, per market and timeframe, until when the run wanted data; what is not over yet cannot be late."""
    ends = dict[tuple[str, str], datetime]()
    for answer in manifest.answers:
        market = (answer.market.symbol, answer.timeframe)
        ends[market] = max(ends.get(market, answer.window.end), answer.window.end)
    return {market: min(end, manifest.now) for market, end in ends.items()}


def _collapsed(rows: DataFrame, dataset: Dataset) -> DataFrame:
    in_order = Window.partitionBy("manifest_no", "fate", "source", *dataset.key).orderBy(
        "received_at", "answer_no", "file_no", "source_position"
    )
    needed = [*dataset.key, *(column.name for column in dataset.value_columns if not column.is_nullable)]
    # Two unreadable rows have equal digests and may be different rows all the same.
    is_whole = " and ".join(["unreadable is null", *(f"{name} is not null" for name in needed)])
    repeats = (F.col("fate") == KEPT) & F.expr(is_whole) & (F.lag("digest").over(in_order) == F.col("digest"))
    fate = F.when(repeats, F.lit(COLLAPSED)).otherwise(F.col("fate"))
    numbered = rows.withColumns({"fate": fate, "place": F.row_number().over(in_order)})
    return numbered.select(*conformed_columns(dataset))
