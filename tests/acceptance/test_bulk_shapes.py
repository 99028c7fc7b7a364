"""Shapes of answers for which the bulk path does more than write rows, or leaves a load to the plain path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from marketlake.embedded_postgres import PostgresAddress
from marketlake.instants import to_epoch_ms
from tests.landed import BTC, Landing, at, zip_of
from tests.spark.both_ways import BothWays, paths, put_archive, two_lakes
from tests.spark.bronze.test_bulk import DAY, HOURS, minutes

pytestmark = [pytest.mark.spark]


@pytest.fixture
def lakes(
    spark: SparkSession, postgres_server: PostgresAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BothWays]:
    with two_lakes(spark, postgres_server, tmp_path, monkeypatch) as both:
        yield both


def trade(number: int, price: str = "42000.01", day: str = DAY) -> list[Any]:
    """A trade of the second of the day that its number says."""
    at_ms = to_epoch_ms(at(day)) + number * 1_000
    return [number, price, "0.00100", number * 2, number * 2 + 1, at_ms, number % 2 == 0, True]


def put_trades(landing: Landing, rows: list[list[Any]], day: str = DAY) -> None:
    landing.dataset = "trades"
    name = f"BTCUSDT-aggTrades-{day}"
    lines = [",".join(map(str, row)) for row in rows]
    landing.root.mkdir(parents=True, exist_ok=True)
    landing.archive(zip_of(landing.root, name, lines), f"data/spot/daily/aggTrades/BTCUSDT/{name}.zip", market=BTC)


def trades_of(numbers: range, day: str = DAY) -> list[list[Any]]:
    return [trade(number, day=day) for number in numbers]


def test_trades_with_jumps_in_their_ids_leave_the_same(lakes: BothWays) -> None:
    rows = [*trades_of(range(100)), *trades_of(range(110, 200)), trade(200, "-1"), trade(201, "x")]
    days = [f"2024-01-0{number}" for number in range(1, 6)]

    done = lakes.load(lambda landing: put_trades(landing, rows))

    assert paths(*done) == ["bulk", "plain"]
    assert [(record.appended_rows, record.rejected_rows) for record in done] == [(190, 2)] * 2
    lakes.assert_equal("trades")

    # One task writes them all; ids jump beside what the table has, between two of the days, and within one.
    def more_days(landing: Landing) -> None:
        for day, numbers in zip(days[1:], (range(205, 300), range(300, 400), range(402, 500)), strict=False):
            put_trades(landing, trades_of(numbers, day), day)
        put_trades(landing, [*trades_of(range(500, 550), days[4]), *trades_of(range(560, 600), days[4])], days[4])

    lakes.patch.setattr("spark_jobs.bronze.bulk._TASKS_PER_CORE", 0)
    again = lakes.load(more_days)

    assert paths(*again) == ["bulk", "plain"]
    assert [record.appended_rows for record in again] == [383, 383]
    lakes.assert_equal("trades")


def test_two_archives_with_the_same_trade_are_compared(lakes: BothWays) -> None:
    def overlapping(landing: Landing) -> None:
        put_trades(landing, trades_of(range(100)))
        put_trades(landing, trades_of(range(99, 200), "2024-01-02"), "2024-01-02")

    done = lakes.load(overlapping)

    assert paths(*done) == ["plain", "plain"]
    lakes.assert_equal("trades")


def test_rows_that_repeat_or_are_out_of_order_are_compared(lakes: BothWays) -> None:
    done = lakes.load(lambda landing: put_archive(landing, "SOL", [*HOURS[:3], HOURS[2], *HOURS[4:], HOURS[3]]))

    assert paths(*done) == ["plain", "plain"]
    assert (done[0].collapsed_rows, done[0].appended_rows) == (1, 24)
    lakes.assert_equal()


def test_a_refused_market_that_shares_a_file_is_judged_with_all_others(lakes: BothWays) -> None:
    def two_markets(landing: Landing) -> None:
        put_archive(landing, "ETH", minutes(bad=60), "1m")
        put_archive(landing, "SOL", minutes(bad=0), "1m")

    # One task writes them, one file holds both.
    lakes.patch.setattr("spark_jobs.bronze.bulk._TASKS_PER_CORE", 0)
    done = lakes.load(two_markets)

    assert paths(*done) == ["plain", "plain"]
    assert [record.appended_rows for record in done] == [200, 200]
    lakes.assert_equal()
