"""Which observations become rows of bronze: append-only revisions (LAKE-12; design, rule 1).

Pure transforms. Each source's rows are compared with its own newest row, or, where it has none, with the best other
source's if that ranks at least as high; sources are taken best first, so that one batch with several of them gives the
same as one batch each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.window import WindowSpec

from marketlake.datasets import SOURCE_PRECEDENCE, ColumnType, Dataset
from marketlake.datasets import Column as DatasetColumn
from marketlake.datasets.current import source_rank_sql

# What the batch's rows need beside the dataset's columns to be put in order.
ORDER = ("received_at", "answer_no", "file_no", "source_position")
# What comparing a row tells: it is new, its source retracted it later, another source's row is beside it.
FLAGS = ("is_changed", "is_withdrawn", "is_disputed")
# One observation of a key by a source: what it said and when we received it.
_OBSERVATION = "concat(digest, '@', cast(unix_micros(received_at) as string))"


@dataclass(frozen=True)
class Revised:
    """The accepted rows of a batch, compared.

    `observed` has every row with `is_changed`, `is_withdrawn` (its source retracted the key after all of its rows),
    `is_disputed` (it is changed and another source has a row) and, where any has, `other`, the best other source's row;
    `appended` are the new rows of bronze, without load_id and known_at. `release` gives back the memory of what was
    kept between the two.
    """

    observed: DataFrame
    appended: DataFrame
    kept: tuple[DataFrame, ...] = ()

    def release(self) -> None:
        """Forget the compared rows."""
        for frame in self.kept:
            frame.unpersist()


def stored_columns(dataset: Dataset) -> list[str]:
    """Return the columns of a new row of bronze before its commit stamps load_id and known_at."""
    return [name for name in dataset.column_names if name not in ("load_id", "known_at")]


def stored_schema(dataset: Dataset) -> str:
    """Return the Spark DDL of those columns."""
    stored = set(stored_columns(dataset))
    return ", ".join(f"{column.name} {column.spark_type}" for column in dataset.columns if column.name in stored)


def first_revisions(accepted: DataFrame, dataset: Dataset) -> Revised:
    """Return the rows of a range of which nothing is known yet, each key and source once: all are revision 0."""
    flags = {name: F.lit(name == "is_changed") for name in FLAGS}
    observed = accepted.withColumns({"revision": F.lit(0).cast("bigint"), **flags})
    return Revised(observed, _stored(observed, dataset))


def revise(
    accepted: DataFrame,
    existing: DataFrame,
    dataset: Dataset,
    *,
    sources: Sequence[str],
    agreements: DataFrame | None = None,
) -> Revised:
    """Return what the accepted rows add to the existing ones.

    `existing` has the table's rows of the same range, all sources and revisions, without load_id and known_at.
    `agreements` (symbol, timeframe, source, range_start, range_end, agreed_at) says until when a source has agreed with
    what is there; an older row that differs is followed by the agreed values again.
    """
    ranked = sorted(sources, key=SOURCE_PRECEDENCE.index)
    observed, appended = list[DataFrame](), list[DataFrame]()
    held = existing
    for source in ranked:
        compared = _compared(accepted.where(F.col("source") == source), held, dataset, source).persist()
        new = _stored(compared.where("is_changed"), dataset)
        if agreements is not None:
            new = new.unionByName(_agreed_again(compared, held, agreements, dataset))
        observed.append(compared)
        appended.append(new)
        held = held.unionByName(new.select(*held.columns))
    return Revised(_union(observed), _union(appended), tuple(observed))


def retractions(existing: DataFrame, present: DataFrame, covered: DataFrame, dataset: Dataset) -> DataFrame:
    """Return a retracting row for each key that a re-issued archive covers and no longer has.

    `present` holds the keys of the new files, `covered` their ranges (symbol, timeframe, source, range_start,
    range_end, received_at, source_ref). The values are those of the row that is retracted. `is_new` is false for the
    rows of a load that committed and never told the ledger: the table has them already.
    """
    newest = existing.withColumn("_place", F.row_number().over(_newest_first(dataset))).where("_place = 1")
    new = covered.select(
        "symbol",
        "source",
        *(["timeframe"] if dataset.has_timeframes else []),
        "range_start",
        "range_end",
        F.col("received_at").alias("_received_at"),
        F.col("source_ref").alias("_source_ref"),
    )
    market = ["symbol", "source", *(["timeframe"] if dataset.has_timeframes else [])]
    time = F.col(dataset.time_column)
    is_there = F.expr("is_retracted and received_at = _received_at and source_ref = _source_ref")
    gone = (
        newest.join(F.broadcast(new), on=market, how="inner")
        .where((time >= F.col("range_start")) & (time < F.col("range_end")))
        .where(~F.col("is_retracted") & (F.col("received_at") < F.col("_received_at")) | is_there)
        .join(present.select(*dataset.key, "source").distinct(), on=[*dataset.key, "source"], how="left_anti")
    )
    retracting = gone.withColumns(
        {
            "is_new": ~F.col("is_retracted"),
            "received_at": F.col("_received_at"),
            "source_ref": F.col("_source_ref"),
            "revision": F.col("revision") + 1,
            "is_retracted": F.lit(True),
        }
    )
    return retracting.select(*stored_columns(dataset), "is_new")


def _compared(rows: DataFrame, existing: DataFrame, dataset: Dataset, source: str) -> DataFrame:
    """Return one source's rows with what is known of their keys, `is_changed`, `is_withdrawn` and `revision`.

    An observation that the table holds is never new, whatever came after it. The row behind it is compared like a
    first one: with the source's newest row.
    """
    joined = rows.join(_known(existing, dataset, source), on=list(dataset.key), how="left").withColumn(
        "_held", F.coalesce(F.array_contains("own_seen", F.expr(_OBSERVATION)), F.lit(False))
    )
    of_key = Window.partitionBy(*dataset.key)
    in_order = of_key.orderBy(*ORDER)
    before = F.when(~F.lag("_held").over(in_order), F.lag("digest").over(in_order))
    differs = F.when(before.isNull(), _differs_from_known(dataset, source)).otherwise(before != F.col("digest"))
    so_far = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    is_older = F.col("_held") | (F.col("own.received_at") > F.col("received_at"))
    is_changed = ~F.col("_held") & differs
    compared = joined.withColumns(
        {
            "is_changed": is_changed,
            "is_disputed": is_changed & F.col("other").isNotNull() & ~F.col("other.is_retracted"),
            "is_withdrawn": F.bool_and(F.coalesce(F.col("own.is_retracted") & is_older, F.lit(False))).over(of_key),
        }
    )
    return compared.drop("_held").withColumn(
        "revision",
        F.coalesce("own_revision", F.lit(-1).cast("bigint")) + F.sum(F.col("is_changed").cast("bigint")).over(so_far),
    )


def _known(existing: DataFrame, dataset: Dataset, source: str) -> DataFrame:
    """Return per key: `own`, the source's newest row; `own_revision`, its highest; `other`, the best other source's.

    `own_seen` names each observation of the source.
    """
    is_own = F.col("source") == source
    row = _row(dataset)
    newest = F.struct("received_at", "revision")
    best = F.struct((-F.expr(source_rank_sql())).alias("rank"), "received_at", "revision")
    return existing.groupBy(*dataset.key).agg(
        F.max_by(row, F.when(is_own, newest)).alias("own"),
        F.max(F.when(is_own, F.col("revision"))).alias("own_revision"),
        F.collect_set(F.when(is_own & ~F.col("is_retracted"), F.expr(_OBSERVATION))).alias("own_seen"),
        F.max_by(row, F.when(~is_own, best)).alias("other"),
    )


def _differs_from_known(dataset: Dataset, source: str) -> Column:
    """Say whether the first new row of a key tells anything new. Values that one side lacks are not compared."""
    rank = SOURCE_PRECEDENCE.index(source)
    from_own = F.col("own.is_retracted") | (F.col("own.digest") != F.col("digest"))
    is_reference = (F.col("other.rank") <= rank) & ~F.col("other.is_retracted")
    different = [
        F.coalesce(comparable(f"other.{column.name}", column) != comparable(column.name, column), F.lit(False))
        for column in dataset.value_columns
    ]
    from_other = ~is_reference | reduce(lambda left, right: left | right, different)
    return F.when(F.col("own").isNotNull(), from_own).otherwise(F.coalesce(from_other, F.lit(True)))


def comparable(name: str, column: DatasetColumn) -> Column:
    """Return a value as it is compared between sources: instants to the millisecond, as in the digest."""
    return F.unix_millis(name) if column.type is ColumnType.INSTANT else F.col(name)


def _agreed_again(compared: DataFrame, existing: DataFrame, agreements: DataFrame, dataset: Dataset) -> DataFrame:
    """Return the agreed values as a further revision for keys whose changed row is older than the agreement."""
    market = ["symbol", "source", *(["timeframe"] if dataset.has_timeframes else [])]
    last = Window.partitionBy(*dataset.key).orderBy(*(F.col(name).desc() for name in ORDER))
    late = (
        compared.withColumn("_last", F.row_number().over(last))
        .where((F.col("_last") == 1) & (F.col("revision") > F.coalesce("own_revision", F.lit(-1))))
        .where(F.col("own").isNull() | (F.col("own.received_at") <= F.col("received_at")))
        .join(F.broadcast(agreements), on=market, how="inner")
        .where((F.col(dataset.time_column) >= F.col("range_start")) & (F.col(dataset.time_column) < F.col("range_end")))
        .where(F.col("agreed_at") > F.col("received_at"))
    )
    agreed = late.join(_other_at(late, existing, dataset), on=[*dataset.key, "source"], how="left")
    agreed = agreed.withColumn("_known", F.coalesce("own", "_other")).where(
        "_known is not null and not _known.is_retracted and _known.digest <> digest"
    )
    values = {column.name: F.col(f"_known.{column.name}") for column in dataset.value_columns}
    return _stored(
        agreed.withColumns(
            {
                **values,
                "digest": F.col("_known.digest"),
                "source_ref": F.col("_known.source_ref"),
                "received_at": F.col("agreed_at"),
                "revision": F.col("revision") + 1,
            }
        ),
        dataset,
    )


def _other_at(late: DataFrame, existing: DataFrame, dataset: Dataset) -> DataFrame:
    """Return, per late key and source, `_other`: the row of a source as good that the agreement was about.

    It is the newest that was received by then; where all came later, the first. What that source said afterwards is
    nothing that was agreed with.
    """
    wanted = late.select(*dataset.key, "source", "agreed_at", F.expr(source_rank_sql()).alias("_rank"))
    others = existing.select(
        *dataset.key,
        F.expr(source_rank_sql()).alias("_other_rank"),
        F.col("received_at").alias("_at"),
        F.col("revision").alias("_revision"),
        _row(dataset).alias("_other"),
    )
    is_by_then = F.col("_at") <= F.col("agreed_at")
    nearness = F.when(is_by_then, F.unix_micros("_at")).otherwise(-F.unix_micros("_at"))
    revision = F.when(is_by_then, F.col("_revision")).otherwise(-F.col("_revision"))
    best = F.struct((-F.col("_other_rank")).alias("rank"), is_by_then.alias("then"), nearness.alias("near"), revision)
    return (
        wanted.join(others, on=list(dataset.key), how="inner")
        .where((F.col("_other_rank") <= F.col("_rank")) & (F.col("_other.source") != F.col("source")))
        .groupBy(*dataset.key, "source")
        .agg(F.max_by("_other", best).alias("_other"))
    )


def _row(dataset: Dataset) -> Column:
    """Return what is remembered of a stored row that another one is compared with."""
    return F.struct(
        *(column.name for column in dataset.value_columns),
        *("source", "source_ref", "digest", "is_retracted", "received_at"),
        F.expr(source_rank_sql()).alias("rank"),
    )


def _stored(rows: DataFrame, dataset: Dataset) -> DataFrame:
    """Return the dataset's columns but those that the commit stamps."""
    if "is_retracted" not in rows.columns:
        rows = rows.withColumn("is_retracted", F.lit(False))
    return rows.select(*stored_columns(dataset))


def _newest_first(dataset: Dataset) -> WindowSpec:
    newest = (F.col("received_at").desc(), F.col("revision").desc())
    return Window.partitionBy(*dataset.key, "source").orderBy(*newest)


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(lambda left, right: left.unionByName(right), frames)
