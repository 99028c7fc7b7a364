"""Resampled candles, build by build, against brute force; what the exchange gives otherwise is told (TRF-12)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from marketlake.errors import DataError, MarketlakeError
from marketlake.instants import floor_instant
from marketlake.publish.dbt import row_rules
from marketlake.timeframes import TIMEFRAMES, timeframe_length
from tests.dbt.warehouse import Warehouse, random_candles, utc

START, MINUTE, HOUR, DAY = utc("2025-01-01"), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BTC, ETH = "BTC/USDT", "ETH/USDT"
MODEL = ("--select", "market_data_resampled")
FULL_REFRESH = ("--full-refresh", "--no-partial-parse")
AGREE = "resampled_candles_agree_with_the_exchanges_own"
Key = tuple[str, str, str, datetime]
SUMS = ("quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")


@pytest.fixture(scope="module")
def built(warehouse: Warehouse) -> Warehouse:
    """Two days and a half hour of minutes of two markets, one of them on two exchanges, built once."""
    for symbol, exchange, seed in ((BTC, "binance", 1), (BTC, "bybit", 2), (ETH, "binance", 3)):
        warehouse.put(symbol, "1m", random_candles(START, "1m", 2 * 1440 + 30, seed=seed), exchange=exchange)
        warehouse.publish(symbol, "1m", START, START + 2 * DAY + 30 * MINUTE, exchange=exchange)
    warehouse.dbt("run", "--select", "+market_data_resampled+", "stg_bronze__market_day_quality")
    return warehouse


def stored(warehouse: Warehouse) -> dict[Key, dict[str, Any]]:
    rows = warehouse.rows("select *, xmin::text as written_by from silver.market_data_resampled")
    return {(row["exchange"], row["symbol"], row["timeframe"], row["open_time"]): row for row in rows}


def by_brute_force(warehouse: Warehouse) -> dict[Key, list[dict[str, Any]]]:
    """Return the base candles of each closed candle, on the grid that the planner and the rules use."""
    ends = "select exchange, symbol, max(close_time) from bronze.ohlcv where timeframe = '1m' group by 1, 2"
    closed = {(exchange, symbol): end for exchange, symbol, end in warehouse.connection.execute(ends.encode())}
    slots = defaultdict[Key, list[dict[str, Any]]](list)
    for row in warehouse.rows("select * from bronze.ohlcv where timeframe = '1m' order by open_time"):
        market = row["exchange"], row["symbol"]
        for timeframe in TIMEFRAMES[1:]:
            length = timeframe_length(timeframe)
            slot = floor_instant(row["open_time"], length)
            if slot + length <= closed[market]:
                slots[*market, timeframe, slot].append(row)
    return slots


def assert_as_brute_force(warehouse: Warehouse) -> None:
    found, expected = stored(warehouse), by_brute_force(warehouse)
    assert found.keys() == expected.keys()
    for key, parts in expected.items():
        row, wanted = found[key], timeframe_length(key[2]) // MINUTE
        assert (row["open"], row["close"]) == (parts[0]["open"], parts[-1]["close"])
        assert (row["high"], row["low"]) == (max(part["high"] for part in parts), min(part["low"] for part in parts))
        assert row["volume"] == sum(part["volume"] for part in parts)
        for name in SUMS:
            values = [part[name] for part in parts]
            assert row[name] == (None if None in values else sum(values)), (key, name)
        assert (row["base_candles"], row["expected_base_candles"]) == (len(parts), wanted)
        assert row["is_complete"] is (len(parts) == wanted)
        assert row["close_time"] == key[3] + timeframe_length(key[2])
        assert row["known_at"] == max(part["known_at"] for part in parts)


def take_away(warehouse: Warehouse, exchange: str, symbol: str, start: datetime, end: datetime) -> None:
    warehouse.connection.execute(
        "delete from bronze.ohlcv where exchange = %s and symbol = %s and open_time >= %s and open_time < %s",
        [exchange, symbol, start, end],
    )


def build(warehouse: Warehouse) -> set[Key]:
    """Build what is new, compare with brute force, and return the keys of the candles that were written."""
    before = stored(warehouse)
    warehouse.dbt("run", *MODEL)
    assert_as_brute_force(warehouse)
    after = stored(warehouse)
    return {key for key, row in after.items() if key not in before or before[key]["written_by"] != row["written_by"]}


def test_a_first_build_holds_what_is_closed_and_no_more(built: Warehouse) -> None:
    assert_as_brute_force(built)
    ends = built.rows("select max(close_time) as at from silver.market_data_resampled group by timeframe order by at")
    assert [row["at"] for row in ends] == [START + 2 * DAY] * 3 + [START + 2 * DAY + 30 * MINUTE] * 2


def test_a_build_writes_the_candles_that_changed_closed_or_lost_their_base_and_no_others(built: Warehouse) -> None:
    begun = START + 2 * DAY
    # A later range, which does not touch the hour that was open, closes it.
    built.put(BTC, "1m", random_candles(begun + 10 * HOUR, "1m", 7, seed=4))
    built.publish(BTC, "1m", begun + 10 * HOUR, begun + 10 * HOUR + 7 * MINUTE)
    # A correction changes one candle of each timeframe.
    corrected = START + 7 * HOUR + 33 * MINUTE
    built.put(ETH, "1m", random_candles(corrected, "1m", 1, seed=5, price=900.0))
    built.publish(ETH, "1m", corrected, corrected + MINUTE)
    # A retraction leaves a part of one hour and nothing of the next.
    gone = START + 5 * HOUR + 20 * MINUTE
    take_away(built, "bybit", BTC, gone, gone + 100 * MINUTE)
    built.publish(BTC, "1m", gone, gone + 100 * MINUTE, exchange="bybit")

    written = build(built)

    assert stored(built)["binance", BTC, "1h", begun]["base_candles"] == 30
    assert {key for key in written if key[1] == BTC and key[0] == "binance" and key[3] < begun} == set()
    slots = {(name, floor_instant(corrected, timeframe_length(name))) for name in TIMEFRAMES[1:]}
    assert {key[2:] for key in written if key[1] == ETH} == slots
    assert ("bybit", BTC, "1h", START + 6 * HOUR) not in stored(built)
    assert stored(built)["bybit", BTC, "1h", START + 5 * HOUR]["base_candles"] == 20


def test_what_is_published_after_the_pin_comes_with_the_next_build(built: Warehouse) -> None:
    at, pin = START + 3 * DAY, built.rows("select max(publication_id) as id from ops.publications")[0]["id"]
    before = stored(built)
    built.put(ETH, "1m", random_candles(at, "1m", 120, seed=6))
    built.publish(ETH, "1m", at, at + 2 * HOUR)
    built.dbt("run", *MODEL, variables={"pinned_publication_id": pin})
    assert stored(built) == before
    assert ("binance", ETH, "1h", at + HOUR) in build(built)


@pytest.mark.parametrize("seed", range(2))
def test_any_mixture_of_changes_ends_as_if_it_had_been_built_at_once(built: Warehouse, seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(25):
        exchange, symbol = [("binance", BTC), ("bybit", BTC), ("binance", ETH)][random.integers(3)]
        at, count = START + int(random.integers(-600, 5000)) * MINUTE, int(random.integers(1, 300))
        if random.random() < 0.4:
            take_away(built, exchange, symbol, at, at + count * MINUTE)
        else:
            candles = random_candles(at, "1m", count, seed=int(random.integers(1_000_000)))
            kept = [candle for candle in candles if random.random() < 0.9]
            built.put(symbol, "1m", [(*candle, None, None, None) for candle in kept], exchange=exchange)
        built.publish(symbol, "1m", at, at + count * MINUTE, exchange=exchange)
    build(built)


def test_a_build_without_publications_writes_nothing_and_a_full_refresh_the_same_rows(built: Warehouse) -> None:
    assert build(built) == set()
    before = stored(built)
    built.dbt("run", *MODEL, *FULL_REFRESH)
    assert_as_brute_force(built)
    assert {key: {**row, "written_by": ""} for key, row in stored(built).items()} == {
        key: {**row, "written_by": ""} for key, row in before.items()
    }


def test_targets_that_are_no_longer_multiples_of_the_base_are_refused(built: Warehouse) -> None:
    before = stored(built)
    variables = {"resampling_base": "1h", "resampled_timeframes": ["4h", "15m", "1h", "90m", "1w", "0h", "1d"]}
    with pytest.raises(DataError, match="resampling_base was 1h, and these were not: 15m, 1h, 90m, 1w, 0h"):
        built.dbt("run", *MODEL, variables=variables)
    assert stored(built) == before


@contextmanager
def native_candles(warehouse: Warehouse) -> Iterator[None]:
    """Give the exchange's own 1h candles as the 1m ones add up; they are gone afterwards."""
    warehouse.connection.execute(
        b"insert into bronze.ohlcv select (json_populate_record(minute.candle, json_build_object("
        b"'timeframe', '1h', 'open_time', made.open_time, 'close_time', made.close_time,"
        b" 'open', made.open, 'high', made.high, 'low', made.low, 'close', made.close, 'volume', made.volume,"
        b" 'quote_volume', made.quote_volume, 'trade_count', made.trade_count))).*"
        b" from silver.market_data_resampled as made cross join lateral (select held as candle"
        b" from bronze.ohlcv as held where made.exchange = held.exchange and made.symbol = held.symbol"
        b" and held.timeframe = '1m' limit 1) as minute where made.timeframe = '1h'"
    )
    try:
        yield
    finally:
        warehouse.connection.execute(b"delete from bronze.ohlcv where timeframe = '1h'")


def agreement(warehouse: Warehouse, **variables: Any) -> str:
    statuses = warehouse.dbt("test", "--select", AGREE, variables=variables).statuses
    return next(status for name, status in statuses.items() if name.startswith(AGREE))


def test_candles_that_the_exchange_gives_otherwise_are_told_with_both_values_and_stop_nothing(built: Warehouse) -> None:
    keys = "exchange, symbol, open_time from silver.market_data_resampled where timeframe = '1h' and"
    change = "update bronze.ohlcv set {} where timeframe = '1h' and (exchange, symbol, open_time) in (select {})"
    whole = f"{keys} is_complete order by open_time, symbol, exchange limit 1"
    told = "select disagreeing_columns, is_complete, native_volume - resampled_volume as more"
    told += " from silver.resampling_disagreements order by is_complete"
    with native_candles(built):
        assert built.rows(told) == []
        # Where minutes are missing a difference is no wonder: it is in the view, and no warning.
        built.connection.execute(change.format("high = high + 1", f"{keys} not is_complete").encode())
        assert agreement(built) == "pass"
        assert {(row["disagreeing_columns"], row["is_complete"]) for row in built.rows(told)} == {("high", False)}
        built.connection.execute(change.format("volume = volume + 0.00001", whole).encode())
        assert agreement(built) == "warn"
        assert built.rows(told)[-1] == {
            "disagreeing_columns": "volume",
            "is_complete": True,
            "more": Decimal("0.00001"),
        }
        # Of a market that was published after the pin, both sides come with the next build.
        assert agreement(built, pinned_publication_id=0) == "pass"


def test_planted_bad_rows_fail_the_tests_that_are_there_for_them(built: Warehouse) -> None:
    # Each statement takes the next row of the first days, which are over.
    table = "silver.market_data_resampled"
    row = f"(exchange, symbol, timeframe, open_time) = (select exchange, symbol, timeframe, open_time from {table}"
    row += " where timeframe = '4h' order by open_time, exchange, symbol limit 1)"
    planted = {
        "market_data_resampled_reconciles": f"delete from {table} where {row}",
        "follows_row_rules_market_data_resampled_ohlcv": f"update {table} set low = high + 1 where {row}",
        "accepted_values_market_data_resampled_timeframe": f"update {table} set timeframe = '6h' where {row}",
    }
    select = ("--select", *(f"{test}*" for test in planted))
    built.connection.execute(b"create temporary table kept as table silver.market_data_resampled")
    try:
        for statement in planted.values():
            built.connection.execute(statement.encode())
        with pytest.raises(MarketlakeError) as failing:
            built.dbt("test", *select, variables={"row_rules": row_rules()})
    finally:
        built.connection.execute(b"truncate silver.market_data_resampled")
        built.connection.execute(b"insert into silver.market_data_resampled table kept")
        built.connection.execute(b"drop table kept")
    for test in planted:
        assert f"\n- {test}" in str(failing.value)
