"""Tests for `spark_jobs.bronze.conform`: repeats collapse, digests tell values apart."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from marketlake.datasets import OHLCV
from spark_jobs.bronze.conform import conform, conformed_columns, digest_sql
from tests.landed import Landing, kline, window

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


def test_a_digest_is_of_values_by_name_whatever_their_zeros(spark: SparkSession) -> None:
    def digest(**values: str) -> str:
        typed = {column.name: f"cast(null as {column.spark_type})" for column in OHLCV.value_columns}
        typed |= {name: f"cast({value} as {typed[name].split(' as ')[1]}" for name, value in values.items()}
        columns = ", ".join(f"{expression} as {name}" for name, expression in typed.items())
        return str(spark.sql(f"select {digest_sql(OHLCV)} as digest from (select {columns})").first()["digest"])

    assert digest(open="'1.50'") == digest(open="'1.5'")
    assert digest(open="'100'") != digest(open="'1'")
    assert digest(open="'0.000000000000'") == digest(open="'0'")
    assert digest(open="'1'") != digest(high="'1'")
    assert digest(open="'1'", trade_count="7") != digest(open="'1'")
    assert len(digest(open="'1'")) == 35
