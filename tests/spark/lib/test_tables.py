"""Tests for the Delta tables of `spark_jobs.lib` and their care in `spark_jobs.maintenance`."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from marketlake.datasets.columns import decimal, integer, text
from marketlake.errors import DataError, UsageError
from spark_jobs.lib.delta_tables import LoadStamp, TableSpec, append_once, ensure_table
from spark_jobs.lib.tables import get_table_history, read_table
from spark_jobs.maintenance import upkeep
from spark_jobs.maintenance.upkeep import content_digest, optimize_table, vacuum_table

KNOWN = datetime(2025, 1, 1, tzinfo=UTC)
SPEC = TableSpec(
    name="bronze.things",
    columns=(text("kind", "Partition."), integer("number", "Key."), decimal("high", "Top."), decimal("low", "Bottom.")),
    partitioned_by=("kind",),
    sorted_by=("number",),
    doc="Things.",
    constraints=(("high_is_not_below_low", "high >= low"),),
)


def things(spark: SparkSession, first: int, count: int, *, high: str = "2", low: str = "1") -> DataFrame:
    return spark.range(first, first + count).select(
        F.lit("a").alias("kind"),
        F.col("id").alias("number"),
        F.lit(high).cast("decimal(28,12)").alias("high"),
        F.lit(low).cast("decimal(28,12)").alias("low"),
    )


def append(spark: SparkSession, root: Path, load_id: str, first: int, count: int = 3, **values: str) -> None:
    rows = things(spark, first, count, **values)
    append_once(rows, str(root), SPEC, LoadStamp(load_id, f"run-{load_id}", count, KNOWN))


def version(root: Path) -> int:
    return DeltaTable(str(root / "bronze" / "things")).version()


def test_a_load_is_appended_once_however_often_it_is_repeated(spark: SparkSession, tmp_path: Path) -> None:
    append(spark, tmp_path, "l1", 0)
    append(spark, tmp_path, "l1", 0)

    assert read_table(spark, str(tmp_path), SPEC.name).count() == 3
    assert version(tmp_path) == 1


def test_a_repeat_tells_of_the_first_commit(spark: SparkSession, tmp_path: Path) -> None:
    commits = [
        append_once(things(spark, 0, 3), str(tmp_path), SPEC, LoadStamp(load_id, "r", 3, at))
        for load_id, at in (("l1", KNOWN), ("l2", KNOWN), ("l1", KNOWN + timedelta(days=1)))
    ]

    assert [(item.version, item.rows, item.known_at, item.is_repeat) for item in commits] == [
        (1, 3, KNOWN, False),
        (2, 3, KNOWN, False),
        (1, 3, KNOWN, True),
    ]


def test_a_known_load_with_another_count_is_an_error(spark: SparkSession, tmp_path: Path) -> None:
    append(spark, tmp_path, "l1", 0)

    with pytest.raises(DataError, match="holds load l1 with 3 typed rows, now there are 4"):
        append(spark, tmp_path, "l1", 0, count=4)


def test_a_retyped_an_extra_and_a_missing_column_leave_the_version_unchanged(
    spark: SparkSession, tmp_path: Path
) -> None:
    ensure_table(str(tmp_path), SPEC)
    good = things(spark, 0, 3)
    for frame, says in (
        (good.withColumn("high", F.col("high").cast("string")), "high is string, the table has decimal"),
        (good.withColumn("more", F.lit(1)), "more is not a column"),
        (good.drop("low"), "low is missing"),
    ):
        with pytest.raises(DataError, match=says):
            append_once(frame, str(tmp_path), SPEC, LoadStamp("l1", "r", 3, KNOWN))

    assert version(tmp_path) == 0


def test_a_nullable_column_that_the_registry_gained_is_null_in_older_rows(spark: SparkSession, tmp_path: Path) -> None:
    append(spark, tmp_path, "l1", 0)
    grown = replace(SPEC, columns=(*SPEC.columns, text("note", "New.", is_nullable=True)))

    frame = things(spark, 10, 2).withColumn("note", F.lit("new"))
    append_once(frame, str(tmp_path), grown, LoadStamp("l2", "r", 2, KNOWN))

    notes = read_table(spark, str(tmp_path), SPEC.name).orderBy("number").select("note").collect()
    assert [row["note"] for row in notes] == [None, None, None, "new", "new"]
    assert version(tmp_path) == 3
    ensure_table(str(tmp_path), grown)
    assert version(tmp_path) == 3
    required = replace(SPEC, columns=(*grown.columns, text("must", "New.")))
    with pytest.raises(DataError, match="has rows without must, which may not be null"):
        ensure_table(str(tmp_path), required)


def test_a_row_that_breaks_a_check_or_lacks_a_key_is_refused_by_the_table(spark: SparkSession, tmp_path: Path) -> None:
    for change in ({"high": "0"}, {"low": None}):
        with pytest.raises(Exception, match=r"(?i)CHECK constraint|NOT NULL"):
            append(spark, tmp_path, "l1", 0, **change)  # type: ignore[arg-type]

    assert version(tmp_path) == 0


def test_a_table_is_readable_everywhere_and_keeps_its_history_for_thirty_days(tmp_path: Path) -> None:
    table = DeltaTable(ensure_table(str(tmp_path), SPEC))

    assert (table.protocol().min_reader_version, table.protocol().reader_features) == (1, None)
    properties = table.metadata().configuration
    assert properties["delta.deletedFileRetentionDuration"] == "interval 30 days"
    assert properties["delta.logRetentionDuration"] == "interval 30 days"
    assert properties["delta.setTransactionRetentionDuration"] == "interval 90 days"


def test_a_table_is_read_at_a_version_and_at_an_instant(spark: SparkSession, tmp_path: Path) -> None:
    append(spark, tmp_path, "l1", 0)
    append(spark, tmp_path, "l2", 3)
    history = get_table_history(str(tmp_path), SPEC.name)

    assert [entry["version"] for entry in history] == [2, 1, 0]
    assert [entry["run_id"] for entry in history] == ["run-l2", "run-l1", None]
    assert read_table(spark, str(tmp_path), SPEC.name, version=1).count() == 3
    instant = history[1]["timestamp"]
    assert read_table(spark, str(tmp_path), SPEC.name, as_of_timestamp=instant).count() == 3
    assert read_table(spark, str(tmp_path), SPEC.name, as_of_timestamp=datetime.now(UTC)).count() == 6


def test_what_cannot_be_read_is_named_with_the_earliest_that_can(spark: SparkSession, tmp_path: Path) -> None:
    append(spark, tmp_path, "l1", 0)
    root, long_ago = str(tmp_path), datetime(2020, 1, 1, tzinfo=UTC)
    earliest = get_table_history(root, SPEC.name)[-1]["timestamp"].strftime("%Y-%m-%d")
    for arguments, says in (
        ({"as_of_timestamp": long_ago, "version": 1}, "not both"),
        ({"as_of_timestamp": long_ago}, earliest),
        ({"as_of_timestamp": datetime.now(UTC) + timedelta(days=1)}, earliest),
        ({"version": 9}, "version 9 of table bronze.things cannot be read, it is not in the log"),
    ):
        with pytest.raises(UsageError, match=says):
            read_table(spark, root, SPEC.name, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no table 'bronze.nothing'"):
        read_table(spark, root, "bronze.nothing")


def test_many_files_become_few_and_the_content_stays(spark: SparkSession, tmp_path: Path) -> None:
    for number in range(6):
        append(spark, tmp_path, f"l{number}", number * 10, count=10)
    before = content_digest(read_table(spark, str(tmp_path), SPEC.name))

    found = optimize_table(spark, str(tmp_path), SPEC.name, ["number"])

    assert (found["files_removed"], found["files_added"]) == (6, 1)
    assert content_digest(read_table(spark, str(tmp_path), SPEC.name)) == before
    with pytest.raises(UsageError, match="must not name partition columns; were kind"):
        optimize_table(spark, str(tmp_path), SPEC.name, ["kind"])


def test_forty_files_become_two_at_most_and_one_partition_alone_can_be_cared_for(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = ensure_table(str(tmp_path), SPEC)
    for kind in ("a", "b"):
        for number in range(20):
            rows = things(spark, number * 10, 10).withColumn("kind", F.lit(kind)).toArrow()
            write_deltalake(path, rows.cast(pa.schema(DeltaTable(path).schema().to_arrow())), mode="append")

    found = optimize_table(spark, str(tmp_path), SPEC.name, ["number"], where="kind = 'a'")
    assert (found["files_removed"], found["files_added"], found["rows"]) == (20, 1, 400)
    optimize_table(spark, str(tmp_path), SPEC.name, ["number"])

    assert len(DeltaTable(path).file_uris()) == 2
    with pytest.raises(UsageError, match="zorder_columns must be given for bronze.things"):
        optimize_table(spark, str(tmp_path), SPEC.name)


def test_a_table_whose_content_changed_under_care_is_restored(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        append(spark, tmp_path, f"l{number}", number * 10)
    files = set(DeltaTable(str(tmp_path / "bronze" / "things")).file_uris())
    digests = iter([(9, 1), (9, 2)])
    monkeypatch.setattr(upkeep, "content_digest", lambda frame: next(digests))

    with pytest.raises(DataError, match=r"changed its content from \(9, 1\) to \(9, 2\); it was restored to version 3"):
        optimize_table(spark, str(tmp_path), SPEC.name, ["number"])

    assert set(DeltaTable(str(tmp_path / "bronze" / "things")).file_uris()) == files
    assert read_table(spark, str(tmp_path), SPEC.name).count() == 9


def test_a_file_that_no_version_names_is_removed_too(tmp_path: Path) -> None:
    ensure_table(str(tmp_path), SPEC)
    orphan = tmp_path / "bronze" / "things" / "kind=a" / "part-00000-killed.zstd.parquet"
    orphan.parent.mkdir()
    orphan.write_bytes(b"what a killed load left")
    two_months_ago = (datetime.now(UTC) - timedelta(days=60)).timestamp()
    os.utime(orphan, (two_months_ago, two_months_ago))
    young = orphan.with_name("part-00001-killed.zstd.parquet")
    young.write_bytes(b"what a load writes now")

    assert [Path(path).name for path in vacuum_table(str(tmp_path), SPEC.name)] == [orphan.name]
    assert (orphan.exists(), young.exists()) == (False, True)


def test_a_version_whose_files_were_vacuumed_is_refused_by_name(spark: SparkSession, tmp_path: Path) -> None:
    for number in range(2):
        append(spark, tmp_path, f"l{number}", number * 10)
    optimize_table(spark, str(tmp_path), SPEC.name, ["number"])
    with pytest.raises(UsageError, match="retention_hours must be at least 168; was 0"):
        vacuum_table(str(tmp_path), SPEC.name, 0)
    assert vacuum_table(str(tmp_path), SPEC.name) == []

    listed = vacuum_table(str(tmp_path), SPEC.name, 0, is_dry_run=True, allow_short_retention=True)
    # Beside them Hadoop's checksums, which no version names.
    assert len([path for path in listed if path.endswith(".parquet")]) == 2
    assert read_table(spark, str(tmp_path), SPEC.name, version=2).count() == 6
    vacuum_table(str(tmp_path), SPEC.name, 0, allow_short_retention=True)

    with pytest.raises(UsageError, match="its files were vacuumed; the earliest available is version"):
        read_table(spark, str(tmp_path), SPEC.name, version=2)
    assert read_table(spark, str(tmp_path), SPEC.name).count() == 6
