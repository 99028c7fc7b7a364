"""The bulk path leaves what the plain path leaves: rows, digests, verdicts, dead letters, facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from marketlake.embedded_postgres import PostgresAddress
from marketlake.errors import DataError
from marketlake.lake.data_files import DataFile
from marketlake.lake.files import table_path
from marketlake.work import Manifest
from spark_jobs.bronze import commit
from spark_jobs.bronze.bulk import Staged, stage
from spark_jobs.lib import append_few
from tests.landed import Landing, at, kline
from tests.spark.both_ways import BothWays, paths, put_archive, two_lakes
from tests.spark.bronze.test_reloads import Killed, kill_at

DAY = "2024-01-01"
HOURS = [kline(f"{DAY}T{hour:02}:00") for hour in range(24)]
BAD = [
    kline(f"{DAY}T05:00", high="104"),
    kline(f"{DAY}T06:00", close="n/a"),
    kline(f"{DAY}T07:00", volume="-1"),
    kline(f"{DAY}T08:00", close="1.0000000000001"),
    kline(f"{DAY}T09:00", quote_volume="much", trade_count=""),
    ["what", *HOURS[10][1:]],
    HOURS[11][:5],
]
RESTATED = [*HOURS[:5], kline(f"{DAY}T05:00", "106"), *HOURS[7:12], *HOURS[13:]]


@pytest.fixture
def lakes(
    spark: SparkSession, postgres_server: PostgresAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BothWays]:
    with two_lakes(spark, postgres_server, tmp_path, monkeypatch) as both:
        yield both


def minutes(bad: int) -> list[list[Any]]:
    rows = [kline(at(DAY) + timedelta(minutes=n), timeframe="1m") for n in range(200)]
    return [[*row[:2], "80", *row[3:]] for row in rows[:bad]] + rows[bad:]


def of_everything(landing: Landing) -> None:
    """Bad rows, a refused market, one of flagged prices, one of two months, an open candle, an archive of none."""
    put_archive(landing, "SOL", [*HOURS[:5], *BAD, *HOURS[12:]])
    put_archive(landing, "ETH", minutes(bad=60), "1m")
    put_archive(landing, "LTC", [kline(f"{DAY}T{hour:02}:00", high="2000000") for hour in range(24)])
    for day in ("2024-01-31", "2024-02-01"):
        put_archive(landing, "XRP", [kline(f"{day}T{hour:02}:00", "101.50") for hour in range(24)], day=day)
    put_archive(landing, "ADA", HOURS[:20])
    put_archive(landing, "DOT", [["open_time", "open", "high", "low", "close", "volume"]])


def test_archives_with_bad_rows_leave_the_same_whichever_way_they_are_loaded(lakes: BothWays) -> None:
    done = lakes.load(of_everything, now=at(f"{DAY}T18:30"))

    assert paths(*done) == ["bulk", "plain"]
    assert (done[0].rejected_rows, done[0].flagged_rows, done[0].manifest_state) == (67, 18, "refused")
    lakes.assert_equal()
    assert written(lakes) == named(lakes)

    # Bronze holds the keys now: both compare, and both find the new candles and the one that is gone.
    again = lakes.load(lambda landing: put_archive(landing, "SOL", RESTATED, received_at="2026-05-02"), kind="reissue")

    assert paths(*again) == ["plain", "plain"]
    assert (again[0].appended_rows, again[0].retracted_rows) == (12, 1)
    lakes.assert_equal()


@pytest.mark.parametrize(
    ("point", "way"),
    [
        ("load.in_audit", "bulk"),
        ("load.after_audit", "bulk"),
        ("load.between_dlq_and_bronze", "bulk"),
        ("load.between_bronze_and_ledger", "plain"),
    ],
)
def test_killed_and_repeated_it_leaves_what_an_undisturbed_load_leaves(lakes: BothWays, point: str, way: str) -> None:
    done = lakes.load(of_everything, killed_at=point, now=at(f"{DAY}T18:30"))

    assert paths(*done) == [way, "plain"]
    lakes.assert_equal()


def test_an_attempt_that_died_leaves_no_row_twice(lakes: BothWays, monkeypatch: pytest.MonkeyPatch) -> None:
    def die_at(point: str, landing: Landing, manifest: Manifest) -> None:
        with monkeypatch.context() as patch:
            kill_at(patch, point)
            with pytest.raises(Killed):
                lakes.bulk.load((landing, manifest))

    monkeypatch.setattr("spark_jobs.bronze.conform.FEW_BYTES", -1)
    landing = lakes.bulk.landing()
    put_archive(landing, "SOL", HOURS)
    manifest = landing.seal()
    die_at("load.after_audit", landing, manifest)
    assert (len(written(lakes)), named(lakes)) == (2, set())  # its rows, and those that were audited

    die_at("load.between_bronze_and_ledger", landing, manifest)
    (done,) = lakes.bulk.drain()

    assert (done.kind, done.appended_rows, paths(done)) == ("load", 24, ["plain"])
    assert lakes.bulk.table("bronze.ohlcv").count() == 24
    bronze = DeltaTable(table_path(lakes.bulk.settings.lake_root, "bronze.ohlcv"))
    bronze.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert written(lakes) == named(lakes)
    assert lakes.bulk.table("bronze.ohlcv").count() == 24


@pytest.mark.parametrize(("committing", "few_bytes"), [(commit, -1), (append_few, 1 << 20)])
def test_a_commit_that_fails_takes_its_files_away(
    lakes: BothWays, monkeypatch: pytest.MonkeyPatch, committing: ModuleType, few_bytes: int
) -> None:
    def fail(files: Sequence[DataFile], *_: object) -> None:
        assert files
        raise DataError("no room")

    monkeypatch.setattr(committing, "append_files_once", fail)
    monkeypatch.setattr("spark_jobs.bronze.conform.FEW_BYTES", few_bytes)
    landing = lakes.bulk.landing()
    put_archive(landing, "SOL", HOURS)
    manifest = landing.seal()

    assert lakes.bulk.load((landing, manifest)) == []
    assert lakes.bulk.state(manifest) == ("failed", "no room")
    assert written(lakes) == set()


def test_a_file_that_cannot_be_read_fails_the_load_and_takes_the_written_away(lakes: BothWays) -> None:
    def of_another_day(landing: Landing) -> None:
        put_archive(landing, "ADA", HOURS)
        put_archive(landing, "SOL", [kline("2024-01-05T00:00")])

    with pytest.raises(ValueError, match="expected 1, got 0"):
        lakes.load(of_another_day)

    ((state, error),) = lakes.bulk.connection.execute("select state, error from ops.manifests").fetchall()
    assert (state, "outside the file's period" in error) == ("failed", True)
    assert written(lakes) == set()


def test_a_row_that_was_written_twice_refuses_the_manifest(lakes: BothWays, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*arguments: Any, **more: Any) -> Staged:
        staged = stage(*arguments, **more)
        return replace(staged, audited=staged.audited.unionByName(staged.audited.limit(1)))

    monkeypatch.setattr(commit, "stage", twice)
    monkeypatch.setattr("spark_jobs.bronze.conform.FEW_BYTES", -1)
    landing = lakes.bulk.landing()
    put_archive(landing, "SOL", HOURS)
    manifest = landing.seal()

    (done,) = lakes.bulk.load((landing, manifest))

    assert (done.manifest_state, done.appended_rows) == ("refused", 0)
    assert "observations_are_distinct" in str(lakes.bulk.state(manifest)[1])
    assert written(lakes) == set()


def written(lakes: BothWays) -> set[str]:
    """Return the data files below the bulk lake's table."""
    folder = Path(table_path(lakes.bulk.settings.lake_root, "bronze.ohlcv"))
    return {str(path.relative_to(folder)) for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts}


def named(lakes: BothWays) -> set[str]:
    """Return the data files that the bulk lake's table names."""
    table = DeltaTable(table_path(lakes.bulk.settings.lake_root, "bronze.ohlcv"))
    return {uri.partition("bronze/ohlcv/")[2] for uri in table.file_uris()}
