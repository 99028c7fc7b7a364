"""Where rows came from, and what two sources say of one candle (GEN-06, ING-18, ING-21, QUA-12)."""

from __future__ import annotations

import csv
import gzip
import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import Row

from marketlake.datasets import OHLCV
from marketlake.instants import Window, from_epoch_ms
from marketlake.lake.files import table_path
from marketlake.work import Market
from spark_jobs.bronze.dead_letters import DeadLetterFile, write_files
from tests.landed import NOW, kline, window, zip_of
from tests.spark.lake import SparkLake

SOL = Market("spot", "SOL/USDT", "SOLUSDT")
DAY = window("2024-01-01", "2024-01-02")
ARCHIVE = "data/spot/daily/klines/SOLUSDT/1h/SOLUSDT-1h-2024-01-01.zip"
PROVENANCE = ("source", "source_ref", "load_id", "received_at", "known_at", "revision", "digest")


def day(**changes: dict[str, Any]) -> list[list[Any]]:
    """A candle for each hour of the day; `h5={"close": "106"}` changes that of five o'clock."""
    return [kline(f"2024-01-01T{hour:02}:00", **changes.get(f"h{hour}", {})) for hour in range(24)]


def archive_of(folder: Path, rows: list[list[Any]]) -> Path:
    return zip_of(folder, "SOLUSDT-1h-2024-01-01", [",".join(map(str, row)) for row in rows])


def told(lake: SparkLake) -> list[tuple[Any, ...]]:
    return lake.connection.execute(
        "select extract(hour from key_at at time zone 'UTC')::int, field, source, value, other_source, other_value,"
        " chosen_source from ops.source_disagreements order by 1, 2"
    ).fetchall()


def test_where_two_sources_differ_is_told_once_with_both_values(lake: SparkLake, tmp_path: Path) -> None:
    by_rest, by_archive, again = lake.landing(), lake.landing(), lake.landing()
    by_rest.rest(day(), DAY, market=SOL)
    lake.load(by_rest)
    by_archive.sealed = 5
    differing = day(h5={"high": "111", "close": "106"}, h6={"volume": "13"}, h7={"quote_volume": "1"})
    by_archive.archive(archive_of(tmp_path, differing), ARCHIVE, market=SOL, received_at="2026-05-02")
    (record,) = lake.load(by_archive)
    expected = [
        (5, "close", "archive", "106", "rest", "105", "archive"),
        (5, "high", "archive", "111", "rest", "110", "archive"),
        (6, "volume", "archive", "13", "rest", "12.5", "archive"),
    ]
    assert (record.appended_rows, told(lake)) == (24, expected)

    again.sealed = 9
    again.rest(day(), DAY, market=SOL, received_at="2026-05-03", reason="force")
    (record,) = lake.load(again)

    assert (record.appended_rows, told(lake)) == (0, expected)
    assert lake.current(OHLCV, "close")[5] == (Decimal("106"),)


def test_every_row_says_where_it_came_from_and_is_stored_as_declared(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest([*day()[:23], kline("2024-01-01T23:00", high="1")], DAY, market=SOL)
    (record,) = lake.load(landing)

    bronze = DeltaTable(table_path(lake.settings.lake_root, "bronze.ohlcv"))
    rows = bronze.to_pyarrow_table()
    assert [name for name in (*OHLCV.key, *PROVENANCE) if rows[name].null_count] == []
    optional = {field.name for field in bronze.schema().fields if field.nullable}
    assert optional == {column.name for column in OHLCV.columns if column.is_nullable}
    run = "select run_id from ops.loads where load_id = %s and step = 'loaded'"
    assert lake.connection.execute(run, [record.load_id]).fetchall() == [("run-1",)]
    (letter,) = lake.table("bronze.ohlcv_dlq").collect()
    assert (letter["load_id"], letter["source_ref"]) == (record.load_id, "/api/v3/klines?symbol=SOLUSDT&interval=1h")
    groups = [pq.read_metadata(path.removeprefix("file://")).row_group(0) for path in bronze.file_uris()]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}


@pytest.mark.parametrize("name", ["BTCUSDT-fundingRate-2022-01_2025-10", "XRPUSDT-fundingRate-2021-11_2021-12"])
def test_recorded_funding_that_comes_again_adds_nothing(lake: SparkLake, recorded_data: Path, name: str) -> None:
    with gzip.open(recorded_data / "funding" / "binance-um" / f"{name}.csv.gz", "rt") as lines:
        events = [
            {"symbol": row["symbol"], "fundingTime": int(row["funding_time"]), "fundingRate": row["funding_rate"]}
            for row in csv.DictReader(lines)
        ]
    first, last = (from_epoch_ms(events[place]["fundingTime"]) for place in (0, -1))
    market = Market("perpetual", f"{name[:3]}/USDT:USDT", name[:7])
    span = Window(first - timedelta(seconds=1), last + timedelta(seconds=60))
    records = []
    for day_of_may in ("2026-05-01", "2026-05-02"):
        landing = lake.landing("funding_rates")
        landing.sealed = int(day_of_may[-1]) * 10
        landing.rest(events, span, market=market, received_at=day_of_may, reason="force")
        records += lake.load(landing)

    assert [(record.appended_rows, record.rejected_rows) for record in records] == [(len(events), 0), (0, 0)]
    late = [raw - minute for minute, raw in lake.rows("funding_rates", "funding_time", "funding_time_raw")]
    assert len(late) == len(events)
    assert timedelta(0) <= min(late) <= max(late) <= timedelta(milliseconds=31)


def test_dead_letter_files_hold_a_thousand_records_each_and_are_counted_by_their_reasons(
    lake: SparkLake, tmp_path: Path
) -> None:
    letters = [
        Row(symbol="SOL/USDT", timeframe="1m", error="schema_validation_failed", source_ref="a.zip",
            reject_id=f"{n:05}", source_position=n, raw_payload=f'[{n},"1"]',
            dlq_reasons=["high < low"] if n % 2 else ["missing price"])
        for n in range(1_001)
    ]  # fmt: skip
    target = DeadLetterFile(tmp_path, "load", NOW, "binance")

    written = write_files(lake.spark.createDataFrame(letters), target, has_timeframes=True)

    documents = [json.loads(path.read_text()) for path in written]
    assert [len(document["records"]) for document in documents] == [1_000, 1]
    assert all(re.fullmatch(r"dlq_2026-06-01T00-00-00_[0-9a-z]{8}\.json", path.name) for path in written)
    assert {tuple(document) for document in documents} == {("timestamp", "error", "context", "records")}
    assert documents[0]["context"] == {"asset_pair": "SOL/USDT", "timeframe": "1m", "provider": "binance"}
    reasons = [record["reason"] for document in documents for record in document["records"]]
    assert (reasons.count("high < low"), reasons.count("missing price")) == (500, 501)
    assert documents[0]["records"][0]["values"] == [0, "1"]
    again = write_files(lake.spark.createDataFrame(letters), target, has_timeframes=True)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]
    assert len(list(tmp_path.glob("dlq_*"))) == 2
