"""Tests for `spark_jobs.bronze.revisions`: which observations become rows, and which row is current."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from marketlake.datasets import OHLCV
from marketlake.datasets.current import current_rows_sql
from spark_jobs.bronze.revisions import retractions, revise, stored_columns
from tests.landed import at
from tests.spark.digest_sql import digest_sql

OPENED = at("2024-01-01T00:00")
STORED = [column for column in OHLCV.columns if column.name in stored_columns(OHLCV)]
PLACE = "answer_no int, file_no int, source_position bigint"


@dataclass(frozen=True)
class Seen:
    """One observation: hour of the candle, close, source, and the day of May on which it was received."""

    close: str
    day: int
    source: str = "rest"
    hour: int = 0
    quote_volume: str | None = "1250"

    def row(self, position: int) -> tuple[Any, ...]:
        opened = OPENED + timedelta(hours=self.hour)
        values: dict[str, Any] = {
            "exchange": "binance",
            "market_type": "spot",
            "symbol": "ETH/USDT",
            "exchange_symbol": "ETHUSDT",
            "timeframe": "1h",
            "open_time": opened,
            "close_time": opened + timedelta(hours=1),
            **{name: Decimal(100) for name in ("open", "high", "low", "volume")},
            "close": Decimal(self.close),
            "quote_volume": None if self.quote_volume is None else Decimal(self.quote_volume),
            "source": self.source,
            "source_ref": f"{self.source}-{self.day}",
            "revision": 0,
            "is_retracted": False,
            "digest": "",
            "received_at": at("2026-05-01") + timedelta(days=self.day),
            "partition_date": opened.date(),
            "partition_asset_pair": "ETH/USDT",
            "partition_month": "2024-01",
        }
        return (*(values.get(column.name) for column in STORED), 0, 0, position)


@dataclass
class Bronze:
    """The table in memory: rows as the load would store them, and the agreements that the ledger would keep."""

    spark: SparkSession
    rows: list[Any] = field(default_factory=list)
    agreements: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def schema(self) -> str:
        return ", ".join(f"{column.name} {column.spark_type}" for column in STORED)

    @property
    def table(self) -> DataFrame:
        return self.spark.createDataFrame(self.rows, self.schema)

    def frame(self, seen: tuple[Seen, ...]) -> DataFrame:
        rows = self.spark.createDataFrame([item.row(n) for n, item in enumerate(seen)], f"{self.schema}, {PLACE}")
        return rows.withColumn("digest", F.expr(digest_sql(OHLCV)))

    def load(self, *seen: Seen) -> int:
        """Load the observations as one batch; return how many rows came to the table."""
        known = "symbol string, timeframe string, source string, range_start timestamp, range_end timestamp"
        agreed = self.spark.createDataFrame(self.agreements, f"{known}, agreed_at timestamp")
        batch = self.frame(seen)
        revised = revise(
            batch,
            self.table,
            OHLCV,
            sources=sorted({item.source for item in seen}),
            agreements=agreed if self.agreements else None,
        )
        new = revised.appended.collect()
        same = revised.observed.where("not is_changed").select("open_time", "source", "received_at").collect()
        revised.release()
        self.rows += new
        for row in same:
            window = (row["open_time"], row["open_time"] + timedelta(hours=1))
            self.agreements.append(("ETH/USDT", "1h", row["source"], *window, row["received_at"]))
        return len(new)

    def all(self) -> list[tuple[Any, ...]]:
        return sorted((row["source"], row["revision"], str(row["close"].normalize())) for row in self.rows)

    def current(self) -> list[tuple[datetime, str]]:
        stored = self.table.withColumns({"load_id": F.lit(""), "known_at": F.lit(None).cast("timestamp")})
        stored.createOrReplaceTempView("_revisions")
        found = self.spark.sql(current_rows_sql(OHLCV, "_revisions")).orderBy("open_time").collect()
        return [(row["open_time"], str(row["close"].normalize())) for row in found]

    def closes(self) -> list[str]:
        return [close for _, close in self.current()]


@pytest.fixture
def bronze(spark: SparkSession) -> Bronze:
    return Bronze(spark)


def test_an_equal_observation_adds_nothing_and_another_is_the_next_revision(bronze: Bronze) -> None:
    assert bronze.load(Seen("1", 1)) == 1
    assert bronze.load(Seen("1", 2)) == 0
    assert bronze.load(Seen("2", 3), Seen("3", 4), Seen("3", 5, hour=1)) == 3

    assert bronze.all() == [("rest", 0, "1"), ("rest", 0, "3"), ("rest", 1, "2"), ("rest", 2, "3")]
    assert bronze.closes() == ["3", "3"]


def test_a_batch_with_equal_neighbours_and_a_return_keeps_each_change(bronze: Bronze) -> None:
    assert bronze.load(Seen("1", 1), Seen("1", 2), Seen("2", 3), Seen("1", 4)) == 3

    assert bronze.all() == [("rest", 0, "1"), ("rest", 1, "2"), ("rest", 2, "1")]


def test_a_worse_source_that_agrees_adds_nothing_and_one_that_differs_adds_one_row_only(bronze: Bronze) -> None:
    bronze.load(Seen("1", 1, "archive"))

    assert bronze.load(Seen("1", 2, "rest")) == 0
    assert [bronze.load(Seen("2", day, "rest")) for day in (3, 4, 5)] == [1, 0, 0]
    assert bronze.closes() == ["1"]


def test_a_better_source_is_always_written_and_becomes_current(bronze: Bronze) -> None:
    bronze.load(Seen("1", 5, "rest"))

    assert bronze.load(Seen("1", 1, "archive")) == 1
    assert bronze.load(Seen("2", 9, "rest")) == 1
    assert bronze.closes() == ["1"]


def test_values_that_one_source_lacks_are_not_compared(bronze: Bronze) -> None:
    bronze.load(Seen("1", 1, "archive"))

    assert bronze.load(Seen("1", 2, "rest", quote_volume=None)) == 0


def test_both_sources_in_one_batch_are_as_one_batch_each(spark: SparkSession) -> None:
    seen = (
        Seen("1", 2, "archive"),
        Seen("1", 1, "rest"),
        Seen("2", 3, "rest", hour=1),
        Seen("1", 3, "archive", hour=1),
    )
    together, apart = Bronze(spark), Bronze(spark)
    together.load(*seen)
    apart.load(*(item for item in seen if item.source == "archive"))
    apart.load(*(item for item in seen if item.source == "rest"))

    assert together.all() == apart.all()


def test_a_row_older_than_an_agreement_is_kept_and_does_not_become_current(bronze: Bronze) -> None:
    bronze.load(Seen("1", 1))
    bronze.load(Seen("1", 3))

    assert bronze.load(Seen("2", 2)) == 2

    assert bronze.all() == [("rest", 0, "1"), ("rest", 1, "2"), ("rest", 2, "1")]
    assert bronze.closes() == ["1"]


def test_an_observation_that_is_held_is_never_new_whatever_came_after_it(bronze: Bronze) -> None:
    bronze.load(Seen("1", 1))
    bronze.load(Seen("2", 3))

    assert [bronze.load(Seen("1", 1)) for _ in range(2)] == [0, 0]
    assert bronze.load(Seen("1", 1), Seen("2", 2)) == 0
    assert bronze.load(Seen("1", 1), Seen("3", 4)) == 1
    assert bronze.closes() == ["3"]


def test_a_row_between_two_of_a_batch_does_not_hide_the_return_to_the_old_value(bronze: Bronze) -> None:
    bronze.load(Seen("2", 2))

    assert bronze.load(Seen("1", 1), Seen("2", 2), Seen("1", 3)) == 2
    assert bronze.closes() == ["1"]


def test_what_was_agreed_with_is_what_the_other_source_said_then(bronze: Bronze) -> None:
    bronze.load(Seen("1", 1, "archive"))
    bronze.load(Seen("1", 5, "rest"))
    bronze.load(Seen("2", 6, "archive"))

    assert bronze.load(Seen("3", 3, "rest")) == 2
    assert [row for row in bronze.all() if row[0] == "rest"] == [("rest", 0, "3"), ("rest", 1, "1")]


def test_an_agreement_with_a_row_that_came_later_is_about_its_first_values(bronze: Bronze) -> None:
    bronze.load(Seen("1", 9, "archive"))
    bronze.load(Seen("1", 5, "rest"))
    bronze.load(Seen("2", 12, "archive"))

    assert bronze.load(Seen("3", 3, "rest")) == 2
    assert [row for row in bronze.all() if row[0] == "rest"] == [("rest", 0, "3"), ("rest", 1, "1")]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param((Seen("1", 1), Seen("2", 2), Seen("1", 3)), id="restated and back"),
        pytest.param((Seen("1", 1), Seen("1", 2), Seen("2", 3)), id="restated late"),
        pytest.param((Seen("1", 2, "archive"), Seen("2", 1), Seen("1", 3)), id="sources differ"),
    ],
)
def test_loads_in_any_order_give_the_same_current_rows(bronze: Bronze, seen: tuple[Seen, ...]) -> None:
    orders = list(permutations(seen))  # one a candle

    for items in zip(*orders, strict=True):
        bronze.load(*(replace(item, hour=hour) for hour, item in enumerate(items)))

    closes = bronze.closes()
    assert len(closes) == len(orders)
    assert len(set(closes)) == 1


def test_a_key_that_a_reissued_archive_lacks_is_retracted_and_may_come_back(bronze: Bronze) -> None:
    bronze.load(Seen("1", 1, "archive"), Seen("1", 1, "archive", hour=1), Seen("5", 1, "rest", hour=1))
    end = OPENED + timedelta(hours=24)
    ranges = [("ETH/USDT", "1h", "archive", OPENED, end, at("2026-05-20"), "new.zip")]
    covered = bronze.spark.createDataFrame(
        ranges,
        "symbol string, timeframe string, source string, range_start timestamp, range_end timestamp, "
        "received_at timestamp, source_ref string",
    )
    present = bronze.frame((Seen("1", 19, "archive"),))

    found = retractions(bronze.table, present, covered, OHLCV)
    gone = found.where("is_new").drop("is_new").collect()
    bronze.rows += gone

    assert [(row["open_time"].hour, row["revision"], row["is_retracted"], row["source_ref"]) for row in gone] == [
        (1, 1, True, "new.zip")
    ]
    assert len(bronze.current()) == 1
    told = retractions(bronze.table, present, covered, OHLCV).select(F.hour("open_time"), "is_new").collect()
    assert [tuple(row) for row in told] == [(1, False)]
    assert bronze.load(Seen("1", 25, "archive", hour=1)) == 1
    assert len(bronze.current()) == 2
