"""Indicators on the recorded candles, against TA-Lib and against brute force (TRF-05 … TRF-08)."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import talib

from marketlake.instants import from_epoch_ms
from tests.dbt.warehouse import SILVER, Candle, Warehouse, utc

SERIES = {
    ("BTC/USDT", "1h"): "1h/BTCUSDT-1h-2022-01-01_2026-04-30.csv.gz",
    ("BTC/USDT", "15m"): "15m/BTCUSDT-15m-2024-12-30_2026-04-30.csv.gz",
    ("SOL/USDT", "15m"): "15m/SOLUSDT-15m-2024-12-30_2026-04-30.csv.gz",
}
PRICES = (
    *("sma_20", "sma_50", "sma_200", "ema_12", "ema_26", "ema_50", "ema_200"),
    *("macd_line", "macd_signal", "macd_histogram", "bb_upper", "bb_middle", "bb_lower", "true_range", "atr_14"),
)
Columns = dict[str, np.ndarray]


def recorded(path: Path) -> Iterator[Candle]:
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            prices = [Decimal(row[name]) for name in ("open", "high", "low", "close")]
            yield (
                from_epoch_ms(int(row["open_time"])),
                *prices,
                Decimal(row["volume"]),
                Decimal(row["quote_volume"]),
            )  # type: ignore[misc]


@pytest.fixture(scope="module")
def enriched(warehouse: Warehouse, recorded_data: Path) -> dict[tuple[str, str], Columns]:
    for (symbol, timeframe), name in SERIES.items():
        warehouse.put(symbol, timeframe, recorded(recorded_data / "klines" / "binance-spot" / name))
        warehouse.publish(symbol, timeframe, utc("2022-01-01"), utc("2026-05-01"))
    warehouse.dbt("run", *SILVER)
    query = "select * from silver.market_data_enriched where symbol = %s and timeframe = %s order by open_time"
    return {series: warehouse.columns(query, series) for series in SERIES}


def from_talib(candles: Columns) -> Columns:
    high, low, close, volume = (candles[name] for name in ("high", "low", "close", "volume"))
    bands = dict(zip(("bb_upper", "bb_middle", "bb_lower"), talib.BBANDS(close, 20, 2, 2), strict=True))
    width = bands["bb_upper"] - bands["bb_lower"]
    return {
        **{f"sma_{n}": talib.SMA(close, n) for n in (20, 50, 200)},
        **{f"ema_{n}": talib.EMA(close, n) for n in (12, 26, 50, 200)},
        "rsi_14": talib.RSI(close, 14),
        **dict(zip(("macd_line", "macd_signal", "macd_histogram"), talib.MACD(close, 12, 26, 9), strict=True)),
        **bands,
        "bb_percent_b": (close - bands["bb_lower"]) / width,
        "bb_bandwidth": width / bands["bb_middle"],
        "true_range": talib.TRANGE(high, low, close),
        "atr_14": talib.ATR(high, low, close, 14),
        "natr_14": talib.NATR(high, low, close, 14),
        "plus_di_14": talib.PLUS_DI(high, low, close, 14),
        "minus_di_14": talib.MINUS_DI(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14),
        **dict(zip(("stoch_k", "stoch_d"), talib.STOCH(high, low, close, 14, 3, 0, 3, 0), strict=True)),
        "cci_20": talib.CCI(high, low, close, 20),
        "williams_r_14": talib.WILLR(high, low, close, 14),
        "roc_10": talib.ROC(close, 10),
        "mfi_14": talib.MFI(high, low, close, volume, 14),
        "obv": talib.OBV(close, volume),
    }


def by_brute_force(candles: Columns, timeframe: str) -> Columns:
    close, volume, quote_volume = candles["close"], candles["volume"], candles["quote_volume"]
    returns = np.concatenate([[np.nan], np.log(close[1:] / close[:-1])])
    of_a_year = {"1h": 8760, "15m": 35040}[timeframe]
    windows = np.lib.stride_tricks.sliding_window_view

    def rolling(values: np.ndarray, n: int) -> np.ndarray:
        return np.concatenate([np.full((n - 1, n), np.nan), windows(values, n)])

    with np.errstate(invalid="ignore"):
        return {
            "simple_return": np.concatenate([[np.nan], close[1:] / close[:-1] - 1]),
            "log_return": returns,
            "vwap_20": rolling(quote_volume, 20).sum(axis=1) / rolling(volume, 20).sum(axis=1),
            "realized_volatility_20": rolling(returns, 20).std(axis=1, ddof=1) * np.sqrt(of_a_year),
        }


def assert_within_tolerance(name: str, found: np.ndarray, expected: np.ndarray, close: np.ndarray) -> None:
    assert np.array_equal(np.isnan(found), np.isnan(expected)), f"{name} is null where it should not be, or not null"
    there = ~np.isnan(found)
    found, expected, close = found[there], expected[there], close[there]
    absolute = 1e-12 * close if name in PRICES else np.full_like(close, 0 if name == "obv" else 1e-9)
    allowed = np.maximum(1e-9 * np.maximum(np.abs(found), np.abs(expected)), absolute)
    assert np.all(np.abs(found - expected) <= allowed), (
        f"{name}: {np.max(np.abs(found - expected) / allowed):.1f} × off"
    )


@pytest.mark.parametrize("series", SERIES, ids=" ".join)
def test_indicators_equal_talib_from_the_first_defined_value_on(
    enriched: dict[tuple[str, str], Columns], series: tuple[str, str]
) -> None:
    columns = enriched[series]
    for name, expected in from_talib(columns).items():
        assert_within_tolerance(name, columns[name], expected, columns["close"])


@pytest.mark.parametrize("series", SERIES, ids=" ".join)
def test_returns_volatility_and_vwap_equal_brute_force(
    enriched: dict[tuple[str, str], Columns], series: tuple[str, str]
) -> None:
    columns = enriched[series]
    for name, expected in by_brute_force(columns, series[1]).items():
        assert_within_tolerance(name, columns[name], expected, columns["close"])


def test_vwap_of_the_day_starts_at_midnight(warehouse: Warehouse, enriched: object) -> None:
    off = warehouse.rows(
        "select open_time from (select open_time, vwap_day, sum(quote_volume) over day"
        " / nullif(sum(volume) over day, 0) as expected"
        " from silver.market_data_enriched window day as (partition by symbol, timeframe,"
        " (open_time at time zone 'UTC')::date order by open_time)) as compared"
        " where abs(vwap_day - expected) > 1e-9 * expected or (vwap_day is null) <> (expected is null)"
    )
    assert off == []


def test_the_outage_of_2023_is_the_only_gap(warehouse: Warehouse, enriched: object) -> None:
    gaps = warehouse.rows("select open_time, previous_open_time from silver.market_data_enriched where has_gap_before")
    assert gaps == [{"open_time": utc("2023-03-24T14:00"), "previous_open_time": utc("2023-03-24T12:00")}]


def test_a_gap_marks_the_candles_whose_window_holds_it(warehouse: Warehouse, enriched: object) -> None:
    marked = warehouse.rows(
        "select min(open_time) as first, count(*) as candles from silver.market_data_enriched where has_gap_in_window"
    )
    assert marked == [{"first": utc("2023-03-24T14:00"), "candles": 199}]


def test_a_market_is_settled_from_its_401st_candle_on(warehouse: Warehouse, enriched: object) -> None:
    unsettled = warehouse.rows(
        "select symbol, timeframe, count(*) as candles from silver.market_data_enriched where not is_settled"
        " group by symbol, timeframe"
    )
    assert [row["candles"] for row in unsettled] == [400, 400, 400]


def test_regimes_follow_adx_and_range(warehouse: Warehouse, enriched: object) -> None:
    wrong = warehouse.rows(
        "with known as (select *, avg(natr_14) over (partition by symbol, timeframe order by open_time"
        " rows between 100 preceding and 1 preceding) as mean, count(natr_14) over (partition by symbol, timeframe"
        " order by open_time rows between 100 preceding and 1 preceding) as values from silver.market_data_enriched)"
        " select open_time from known where market_regime is distinct from case when values < 100 then null"
        " when adx_14 >= 25 then 'trend' when natr_14 >= 1.5 * mean then 'volatile' else 'range' end"
        " or trend_direction is distinct from case when plus_di_14 > minus_di_14 then 'up'"
        " when plus_di_14 < minus_di_14 then 'down' end"
    )
    assert wrong == []


def test_recomputing_on_candles_up_to_an_instant_gives_the_stored_row(warehouse: Warehouse, enriched: object) -> None:
    for symbol, timeframe, at in (
        ("BTC/USDT", "1h", "2022-01-05T03:00"),
        ("BTC/USDT", "1h", "2023-03-24T14:00"),
        ("SOL/USDT", "15m", "2025-11-30T23:45"),
    ):
        parameters = [timeframe, symbol, timeframe, utc(at)]
        names = "array_agg({0} order by open_time)".format
        arrays = ", ".join(map(names, ("open_time", "high", "low", "close", "volume", "quote_volume")))
        recomputed = warehouse.rows(
            f"select walk.* from (select {arrays} from silver.market_data where symbol = %s and timeframe = %s"
            " and open_time <= %s) as cut (a, b, c, d, e, f) cross join lateral"
            " silver.indicator_walk_of(%s, a, b, c, d, e, f) as walk order by walk.open_time desc limit 1",
            [symbol, timeframe, utc(at), timeframe],
        )
        stored = warehouse.rows(
            "select * from staging.market_data_indicators where symbol = %s and timeframe = %s and open_time = %s",
            parameters[1:],
        )
        assert recomputed == [{name: stored[0][name] for name in recomputed[0]}]


def test_a_full_refresh_computes_in_workers(warehouse: Warehouse, enriched: object) -> None:
    if warehouse.rows("show max_parallel_workers_per_gather") == [{"max_parallel_workers_per_gather": "0"}]:
        pytest.skip("this server has no parallel workers")
    launched = "select parallel_workers_launched as workers from pg_stat_database where datname = current_database()"
    before = warehouse.rows(launched)[0]["workers"]
    warehouse.dbt("run", "--full-refresh", "--select", "market_data_indicators")
    assert warehouse.rows(launched)[0]["workers"] == before + 2
