"""Tests for `spark_jobs.bronze.landed_rows`: what an executor makes of one landed file, without Spark."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.work import Manifest
from spark_jobs.bronze.conform import landed_sources
from spark_jobs.bronze.landed_rows import typed_batches
from tests.landed import BTC_PERPETUAL, Landing, at, funding, kline, window

DAY = window("2024-01-01", "2024-01-02")


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def typed(landing: Landing, manifest: Manifest) -> list[dict[str, Any]]:
    dataset = OHLCV if landing.dataset == "ohlcv" else FUNDING_RATES
    sources = landed_sources([manifest], landing.area)
    return pa.Table.from_batches([batch for source in sources for batch in typed_batches(dataset, source)]).to_pylist()


def test_a_candle_is_typed_from_its_text_with_its_market_and_its_origin(landing: Landing) -> None:
    landing.rest([kline("2024-01-01T05:00", "105.10", volume="0.000000000001")], DAY)

    (row,) = typed(landing, landing.seal())

    assert (row["exchange"], row["symbol"], row["timeframe"], row["source"]) == ("binance", "ETH/USDT", "1h", "rest")
    assert (row["open_time"], row["close_time"]) == (at("2024-01-01T05:00"), at("2024-01-01T06:00"))
    assert row["reported_close_time"] == at("2024-01-01T05:59:59.999")
    assert (row["close"], row["volume"], row["trade_count"]) == (Decimal("105.1"), Decimal("0.000000000001"), 7)
    assert (row["received_at"], row["source_position"], row["fate"]) == (at("2026-05-01"), 0, "kept")
    assert row["raw_payload"].startswith("[1704085200000")


def test_rows_outside_the_window_and_candles_still_open_are_told_apart(landing: Landing) -> None:
    opens = ["2023-12-31T23:00", "2024-01-01T00:00", "2024-01-01T11:00", "2024-01-01T12:00", "2024-01-02T00:00"]
    landing.rest([kline(text) for text in opens], DAY)

    rows = typed(landing, landing.seal(now=at("2024-01-01T12:30")))

    assert [row["fate"] for row in rows] == ["outside", "kept", "kept", "open", "outside"]


def test_absurd_instants_are_nobodys_window_and_are_judged(landing: Landing) -> None:
    rows = [
        kline("2024-01-01T00:00", open_time=1_000_000_000_000),
        kline("2024-01-01", open_time="x"),
    ]
    landing.rest(rows, DAY)

    assert [row["fate"] for row in typed(landing, landing.seal())] == ["kept", "kept"]


def test_an_unreadable_optional_value_is_named_and_an_absent_one_is_not(landing: Landing) -> None:
    rows = [
        kline("2024-01-01T00:00", quote_volume="much", taker_buy_volume="1e99"),
        kline("2024-01-01T01:00", quote_volume="", trade_count=None),
        kline("2024-01-01T02:00", close="much"),
    ]
    landing.rest(rows, DAY)

    found = typed(landing, landing.seal())

    assert [row["unreadable"] for row in found] == ["quote_volume, taker_buy_volume", None, None]
    assert [row["quote_volume"] for row in found[:2]] == [None, None]
    assert found[2]["close"] is None


def test_funding_is_placed_at_its_minute_and_keeps_its_exact_instant(landing: Landing) -> None:
    landing.dataset = "funding_rates"
    landing.rest([funding("2024-01-01T08:00:00.031", "0.00010001")], DAY, market=BTC_PERPETUAL)

    (row,) = typed(landing, landing.seal())

    assert (row["funding_time"], row["funding_time_raw"]) == (at("2024-01-01T08:00"), at("2024-01-01T08:00:00.031"))
    assert (row["funding_rate"], row["mark_price"]) == (Decimal("0.00010001"), None)


def test_rows_know_until_when_their_run_wanted_data(landing: Landing) -> None:
    landing.rest([kline("2024-01-01T00:00")], DAY)
    landing.rest([kline("2024-01-02T00:00")], window("2024-01-02", "2024-01-03"))

    rows = typed(landing, landing.seal(now=at("2024-01-02T12:00")))

    assert {row["window_end"] for row in rows} == {at("2024-01-02T12:00")}
