"""Tests for `spark_jobs.bronze.load`: what one load leaves in every layer."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from marketlake import ledger
from marketlake.datasets import OHLCV
from tests.landed import BTC_PERPETUAL, funding, kline, window
from tests.spark.lake import SparkLake

DAY = window("2024-01-01", "2024-01-02")


def candles(hours: range, **change: object) -> list[list[object]]:
    return [kline(f"2024-01-01T{hour:02}:00", **change) for hour in hours]


def test_a_load_types_commits_and_tells_the_ledger(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest(candles(range(24)), DAY)

    (record,) = lake.load(landing)

    assert (record.typed_rows, record.appended_rows, record.rejected_rows) == (24, 24, 0)
    rows = lake.rows("ohlcv", "open_time", "close", "revision", "source", "partition_month", "load_id")
    assert len(rows) == 24
    assert rows[0][1:] == (Decimal("105"), 0, "rest", "2024-01", record.load_id)
    assert [(tile.window, tile.state) for tile in lake.tiles("ohlcv", "ETH/USDT", "1h")] == [(DAY, "present")]
    assert ledger.high_watermark(lake.connection, "ohlcv", "binance", "ETH/USDT", "1h") == DAY.end


@pytest.mark.usefixtures("on_both_ways")
def test_planted_bad_rows_arrive_in_table_and_file_and_good_ones_load(lake: SparkLake) -> None:
    landing = lake.landing()
    bad = [
        kline("2024-01-01T05:00", high="104"),
        kline("2024-01-01T06:00", close="n/a"),
        kline("2024-01-01T07:00", volume="-1"),
        kline("2024-01-01T08:00", close="1.0000000000001"),
        kline("2024-01-01T09:00", quote_volume="much"),
        ["what"],
    ]
    landing.rest([*candles(range(5)), *bad, *candles(range(10, 24))], DAY)

    (record,) = lake.load(landing)

    assert (record.typed_rows, record.appended_rows, record.rejected_rows) == (25, 19, 6)
    letters = lake.table("bronze.ohlcv_dlq").orderBy("source_position").collect()
    assert [row["dlq_reasons"] for row in letters] == [
        ["close not in range"],
        ["missing price"],
        ["negative volume"],
        ["missing price"],
        ["unreadable value"],
        ["missing key", "missing price", "negative volume"],
    ]
    files = sorted(lake.settings.dlq_folder.glob("*.json"))
    documents = [json.loads(path.read_text()) for path in files]
    assert sorted((len(document["records"]), document["error"]) for document in documents) == [
        (1, "parse_failed"),
        (5, "schema_validation_failed"),
    ]
    assert documents[0]["context"] == {"asset_pair": "ETH/USDT", "timeframe": "1h", "provider": "binance"}
    rejected = [tile.window for tile in lake.tiles("ohlcv", "ETH/USDT", "1h") if tile.state == "rejected"]
    assert rejected == [window("2024-01-01T05:00", "2024-01-01T10:00")]


@pytest.mark.usefixtures("on_both_ways")
def test_the_same_manifest_twice_adds_nothing(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest(candles(range(24)), DAY)
    lake.load(landing)
    again = lake.landing()
    again.sealed = 5
    again.rest(candles(range(24)), DAY, received_at="2026-05-02")

    (record,) = lake.load(again)

    assert (record.appended_rows, record.agreed_rows, record.delta_version) == (0, 24, None)
    assert len(lake.rows("ohlcv", "revision")) == 24


@pytest.mark.usefixtures("on_both_ways")
def test_a_restated_candle_becomes_revision_one_and_the_old_values_stay(lake: SparkLake) -> None:
    first, second = lake.landing(), lake.landing()
    first.rest(candles(range(24)), DAY)
    lake.load(first)
    second.sealed = 5
    second.rest([kline("2024-01-01T05:00", "106")], DAY, received_at="2026-05-02", reason="force")

    (record,) = lake.load(second)

    assert record.appended_rows == 1
    assert lake.table("bronze.ohlcv").where("revision = 1").count() == 1
    assert lake.current(OHLCV, "close")[5] == (Decimal("106"),)


def test_funding_events_load_once_at_their_minute(lake: SparkLake) -> None:
    landing = lake.landing("funding_rates")
    rows = [funding("2024-01-01T00:00:00.006"), funding("2024-01-01T08:00", "0.05"), funding("2024-01-01T16:00")]
    landing.rest(rows, DAY, market=BTC_PERPETUAL)

    (record,) = lake.load(landing)

    assert (record.appended_rows, record.flagged_rows) == (3, 1)
    stored = lake.table("bronze.funding_rates")
    assert stored.where("funding_time = timestamp '2024-01-01 00:00:00Z'").count() == 1
    assert [tile.window for tile in lake.tiles("funding_rates", "BTC/USDT:USDT", "")] == [DAY]
