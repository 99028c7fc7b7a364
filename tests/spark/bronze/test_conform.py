"""Tests for `spark_jobs.bronze.conform`: repeats collapse, digests tell values apart."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from marketlake.datasets import OHLCV
from spark_jobs.bronze.conform import conform, conformed_columns
from tests.landed import Landing, kline, window
from tests.spark.digest_sql import digest_sql

DAY = window("2024-01-01", "2024-01-02")


def fates(spark: SparkSession, landing: Landing) -> list[tuple[str, int, str]]:
    rows = conform(spark, [landing.seal()], OHLCV, area=landing.area)
    found = rows.orderBy("open_time", "place").select("close", "place", "fate").collect()
    return [(str(row["close"].normalize()) if row["close"] else "", row["place"], row["fate"]) for row in found]


def test_repeats_of_pages_and_collectors_collapse_and_different_values_stay(
    spark: SparkSession, tmp_path: Path
) -> None:
    landing = Landing(tmp_path)
    landing.rest([kline("2024-01-01T00:00", "101"), kline("2024-01-01T00:00", "101")], DAY, received_at="2026-05-01")
    landing.rest([kline("2024-01-01T00:00", "102"), kline("2024-01-01T00:00", "102")], DAY, received_at="2026-05-02")
    landing.rest([kline("2024-01-01T00:00", "101")], DAY, received_at="2026-05-03")

    assert fates(spark, landing) == [
        ("101", 1, "kept"),
        ("101", 2, "collapsed"),
        ("102", 3, "kept"),
        ("102", 4, "collapsed"),
        ("101", 5, "kept"),
    ]


def test_unreadable_rows_never_collapse(spark: SparkSession, tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    bad = [kline("2024-01-01T00:00", "x"), kline("2024-01-01T00:00", "y"), ["a"], ["b"]]
    landing.rest(bad, DAY)

    assert [fate for _, _, fate in fates(spark, landing)] == ["kept"] * 4


def test_manifests_are_conformed_together_and_do_not_collapse_into_each_other(
    spark: SparkSession, tmp_path: Path
) -> None:
    landing = Landing(tmp_path)
    manifests = []
    for _ in range(2):
        landing.rest([kline("2024-01-01T00:00")], DAY)
        manifests.append(landing.seal())

    rows = conform(spark, manifests, OHLCV, area=landing.area)

    assert rows.columns == conformed_columns(OHLCV)
    assert sorted((row["manifest_no"], row["fate"]) for row in rows.collect()) == [(0, "kept"), (1, "kept")]


def test_a_digest_is_of_values_by_name_whatever_their_zeros(spark: SparkSession, tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    prices = [
        "1.50",
        "1.5",
        "100",
        "1",
        "0.000000000000",
        "0",
        "1e2",
        "+7.5",
        "0.000000000012",
        "x",
        "1234567890123456.5",
    ]
    landing.rest([kline("2024-01-01T00:00", price, volume="-2.50") for price in prices], DAY)
    landing.rest([kline("2024-01-01T00:00", high="105", close="110", reported_close_time="n/a")], DAY)

    rows = conform(spark, [landing.seal()], OHLCV, area=landing.area).orderBy("answer_no", "source_position")
    told = [
        (row["digest"], row["again"]) for row in rows.selectExpr("digest", f"{digest_sql(OHLCV)} as again").collect()
    ]

    found = [digest for digest, _ in told]
    assert found == [again for _, again in told]
    assert found[0] == found[1]
    assert found[2] == found[6] != found[3]
    assert found[4] == found[5]
    assert len(set(found)) == len(found) - 3
    assert {len(digest) for digest in found} == {35}
