"""The suites over real rows: they count what the split counts, and leave results that people can read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import great_expectations as gx
import pytest
from pyspark.sql import DataFrame, SparkSession

from expectations.row_rules import failure_columns
from expectations.suites import SUITES, suite_named
from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.errors import DataError, UnknownNameError
from marketlake.rules import rules_for
from marketlake.settings import Settings, load_settings
from spark_jobs.audit.gx_run import SuiteOutcome, docs_folder, results_folder, run_suite
from spark_jobs.audit.validate import audited_rows, validate_dataframe, verdicts_folder
from spark_jobs.bronze.conform import conform
from spark_jobs.lib.quality import with_reasons
from tests.landed import BTC_PERPETUAL, Landing, at, funding, kline, window

DAY = window("2024-01-01", "2024-01-02")
RULES = rules_for(OHLCV)
SUITE = "market_data_quality"


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings()


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "lake")


def typed(spark: SparkSession, landing: Landing) -> DataFrame:
    """Return the rows as the audit sees them, with their reasons beside."""
    return with_reasons(conform(spark, [landing.seal()], OHLCV, area=landing.area), RULES)


def judged(rows: DataFrame, settings: Settings, name: str = "load") -> SuiteOutcome:
    frame = audited(rows).selectExpr("*", *failure_columns(RULES))
    return run_suite(frame, suite_named(SUITE), row_count=rows.count(), settings=settings, name=name)


def audited(rows: DataFrame) -> DataFrame:
    extra = ("fate", "answer_no", "raw_payload", "place", "dlq_reasons", "flag_reasons")
    return audited_rows(rows.where("fate = 'kept'").drop(*extra), OHLCV)


def lists_in(tree: Any) -> Iterator[list[Any]]:
    if isinstance(tree, list):
        yield tree
    for below in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from lists_in(below)


def a_day(**changes: str) -> list[list[object]]:
    return [kline(f"2024-01-01T{hour:02}:00", **changes) for hour in range(24)]


def test_suite_and_split_count_the_same_failures(spark: SparkSession, landing: Landing, settings: Settings) -> None:
    bad = [
        kline("2024-01-01T00:00", close="n/a"),
        kline("2024-01-01T01:00", high="80"),
        kline("2024-01-01T02:00", volume="-1"),
        kline("2024-01-01T03:00", open="0.00001", low="0.00001"),
        kline("2024-01-01T04:00", quote_volume="x"),
        kline("2024-01-01T05:30"),
        ["what"],
    ]
    landing.rest([*bad, *a_day()[6:]], DAY)
    rows = typed(spark, landing).persist()

    outcome = judged(rows, settings)

    split = rows.collect()
    for rule in RULES:
        column = "dlq_reasons" if rule.severity == "reject" else "flag_reasons"
        counted = sum(rule.reason in row[column] for row in split)
        assert outcome.failed_rows(rule.name) == counted, rule.name
    assert outcome.failed_rows("high_is_not_below_low") == 1
    assert outcome.failed_rows("prices_are_complete") == 2
    assert outcome.failed_rows("price_is_plausible") == 1
    assert not outcome.failed_critical
    assert not outcome.has_passed


def test_freshness_is_measured_against_the_end_of_the_window(
    spark: SparkSession, landing: Landing, settings: Settings
) -> None:
    landing.rest(a_day(), DAY)
    whole = judged(typed(spark, landing), settings)
    landing.rest(a_day()[:22], DAY)
    late = judged(typed(spark, landing), settings)

    def is_fresh(outcome: SuiteOutcome) -> bool:
        return next(item.success for item in outcome.outcomes if item.name == "newest_candle_is_fresh")

    assert (is_fresh(whole), is_fresh(late)) == (True, False)  # a day of 2024: history never alarms
    assert not late.failed_critical


def test_data_docs_show_counts_and_few_samples_and_go_after_thirty_days(
    spark: SparkSession, landing: Landing, settings: Settings
) -> None:
    old = [results_folder(settings) / "old.json", docs_folder(settings) / "validations" / "old.html"]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        os.utime(path, (time.time() - timedelta(days=31).total_seconds(),) * 2)
    rows = [kline(at("2024-01-01") + timedelta(minutes=minute), timeframe="1m") for minute in range(40)]
    landing.rest(rows, DAY, timeframe="1m")
    twice = typed(spark, landing)

    outcome = judged(twice.unionAll(twice), settings, name="ohlcv-abc")

    [page] = (docs_folder(settings) / "validations").rglob("*.html")
    assert outcome.docs.is_file()
    assert "ohlcv-abc" in str(page)
    assert "market_data_quality" in page.read_text()
    assert {path.stem for path in (docs_folder(settings) / "expectations").glob("*.html")} == {*SUITES}
    [stored] = results_folder(settings).rglob("*.json")
    results = {item["expectation_config"]["description"]: item for item in json.loads(stored.read_text())["results"]}
    distinct = results["observations_are_distinct"]
    assert distinct["result"]["observed_value"] == 40
    assert max(map(len, lists_in(distinct["result"])), default=0) <= 20
    assert not any(path.exists() for path in old)


def test_a_frame_is_judged_true_or_false_and_the_result_is_kept(
    spark: SparkSession, landing: Landing, settings: Settings
) -> None:
    landing.rest([*a_day()[:23], kline("2024-01-01T23:00", high="1")], DAY)
    rows = audited(typed(spark, landing))

    assert not validate_dataframe(rows, SUITE, settings=settings)
    assert validate_dataframe(rows.where("open_time < timestamp '2024-01-01 23:00:00Z'"), SUITE, settings=settings)

    verdicts = [json.loads(path.read_text()) for path in sorted(verdicts_folder(settings).glob("*.json"))]
    assert [(verdict["row_count"], verdict["success"]) for verdict in verdicts] == [(24, False), (23, True)]
    [failed] = [item for item in verdicts[0]["expectations"] if item["name"] == "high_is_not_below_low"]
    assert (failed["success"], failed["failed_rows"], failed["share"]) == (False, 1, 1 / 24)
    assert len(verdicts[0]["expectations"]) == len(suite_named(SUITE).expectations)


def test_rows_without_what_a_load_adds_are_judged_too(
    spark: SparkSession, landing: Landing, settings: Settings
) -> None:
    landing.dataset = "funding_rates"
    landing.rest([funding("2024-01-01T08:00:00.031")], DAY, market=BTC_PERPETUAL)
    rows = conform(spark, [landing.seal()], FUNDING_RATES, area=landing.area)
    own = [name for name in FUNDING_RATES.column_names if name in rows.columns]

    assert validate_dataframe(rows.select(*own), "funding_rates_quality", settings=settings)
    assert not validate_dataframe(rows.select(*own, "raw_payload"), "funding_rates_quality", settings=settings)


def test_nothing_to_judge_and_missing_results_are_no_success(
    spark: SparkSession, landing: Landing, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.rest(a_day(), DAY)
    rows = audited(typed(spark, landing))
    with pytest.raises(UnknownNameError, match="funding_rates_quality, trades_quality; was 'quality'"):
        validate_dataframe(rows, "quality", settings=settings)
    with pytest.raises(DataError, match="the frame is empty"):
        validate_dataframe(rows.limit(0), SUITE, settings=settings)

    real = gx.Checkpoint.run

    def without_the_last(checkpoint: gx.Checkpoint, **options: object) -> object:
        result = real(checkpoint, **options)
        for run in result.run_results.values():
            run.results.pop()
        return result

    monkeypatch.setattr(gx.Checkpoint, "run", without_the_last)
    assert not validate_dataframe(rows, SUITE, settings=settings)
