"""Recorded candles, resampled, equal the exchange's own of the longer timeframe (TRF-12), outages included."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketlake.instants import from_epoch_ms
from marketlake.timeframes import timeframe_length
from tests.dbt.warehouse import Warehouse, utc

BTC, ETH = "BTC/USDT", "ETH/USDT"
VALUES = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume")
VALUES += ("taker_buy_quote_volume",)
STATED = ("open", "high", "low", "close", "volume")
MINUTES = (
    *((BTC, f"1m/BTCUSDT-1m-{days}") for days in ("2021-03-26_2021-04-30", "2022-06-15_2022-07-19")),
    *((BTC, f"1m/BTCUSDT-1m-{days}") for days in ("2024-07-26_2024-08-25", "2025-01-01_2025-02-04")),
    *((ETH, f"1m/ETHUSDT-1m-{days}") for days in ("2021-08-09_2021-09-13", "2024-07-26_2024-08-25")),
)
QUARTERS, HOURS = "15m/BTCUSDT-15m-2024-12-30_2026-04-30", "1h/BTCUSDT-1h-2022-01-01_2026-04-30"
FULL_REFRESH = ("--full-refresh", "--no-partial-parse")
Bars = dict[datetime, dict[str, Any]]


def values_of(row: dict[str, str] | list[Any]) -> tuple[Any, ...]:
    """Return a recorded candle as `Warehouse.put` takes it, what is not stated as None."""
    texts = [*row.values()] if isinstance(row, dict) else row
    open_time, *prices, volume = texts[:6]
    numbers = [None if text == "" else Decimal(text) for text in (*prices, volume, texts[7], texts[9], texts[10])]
    count = None if texts[8] == "" else int(texts[8])
    return (from_epoch_ms(int(open_time)), *numbers[:6], count, *numbers[6:])


def recorded(folder: Path, name: str) -> Iterator[tuple[Any, ...]]:
    with gzip.open(folder / "klines" / "binance-spot" / f"{name}.csv.gz", "rt") as lines:
        yield from map(values_of, csv.DictReader(lines))


def own_bars(candles: Iterator[tuple[Any, ...]]) -> Bars:
    return {candle[0]: dict(zip(VALUES, candle[1:], strict=True)) for candle in candles}


def between(bars: Bars, start: str, end: str) -> Bars:
    return {at: bar for at, bar in bars.items() if utc(start) <= at < utc(end)}


class Resampled:
    """What a base and its targets come to, by symbol and target."""

    def __init__(self, warehouse: Warehouse, base: str, targets: tuple[str, ...]) -> None:
        variables = {"resampling_base": base, "resampled_timeframes": [*targets]}
        warehouse.dbt("run", "--select", "+market_data_resampled+", *FULL_REFRESH, variables=variables)
        self.base = base
        self.rows = warehouse.rows("select * from silver.market_data_resampled order by open_time")

    def bars(self, symbol: str, timeframe: str) -> Bars:
        return {row["open_time"]: row for row in self.rows if (row["symbol"], row["timeframe"]) == (symbol, timeframe)}


@pytest.fixture(scope="module")
def candles(warehouse: Warehouse, recorded_data: Path) -> Warehouse:
    """The recorded candles, published; the exchange's own hours beside the minutes."""
    named = [*((symbol, "1m", name) for symbol, name in MINUTES), (BTC, "15m", QUARTERS), (BTC, "1h", HOURS)]
    for symbol, timeframe, name in named:
        rows = list(recorded(recorded_data, name))
        warehouse.put(symbol, timeframe, rows)
        warehouse.publish(symbol, timeframe, rows[0][0], rows[-1][0] + timeframe_length(timeframe))
    page = json.loads((recorded_data / "rest" / "binance-spot" / "klines_ETHUSDT_1h_2024-08-01.json").read_text())
    warehouse.put(ETH, "1h", map(values_of, page))
    return warehouse


@pytest.fixture(scope="module")
def of_minutes(candles: Warehouse) -> Resampled:
    return Resampled(candles, "1m", ("1h", "2h"))


def assert_equal_bars(made: Bars, own: Bars, names: tuple[str, ...]) -> None:
    assert made.keys() == own.keys()
    differing = [at for at in made if any(made[at][name] != own[at][name] for name in names)]
    assert differing == []


@pytest.mark.parametrize(
    ("symbol", "start", "end", "hours"),
    [
        (BTC, "2022-06-15", "2022-07-20", 833),
        (BTC, "2024-07-26", "2024-08-26", 719),
        (BTC, "2025-01-01", "2025-02-05", 833),
        (ETH, "2024-08-01", "2024-08-26", 590),
    ],
)
def test_full_hours_of_minutes_equal_the_exchanges_hours(
    of_minutes: Resampled, recorded_data: Path, symbol: str, start: str, end: str, hours: int
) -> None:
    made = between(of_minutes.bars(symbol, "1h"), start, end)
    full = {at: bar for at, bar in made.items() if bar["is_complete"]}
    assert len(full) == hours
    assert [bar["base_candles"] for bar in full.values()] == [60] * hours
    page = recorded_data / "rest" / "binance-spot" / "klines_ETHUSDT_1h_2024-08-01.json"
    own = own_bars(recorded(recorded_data, HOURS) if symbol == BTC else map(values_of, json.loads(page.read_text())))
    assert_equal_bars(full, {at: own[at] for at in full}, STATED)


def test_the_warehouse_itself_finds_no_disagreement_with_the_hours(candles: Warehouse, of_minutes: Resampled) -> None:
    compared = (
        "select count(*) as hours from silver.market_data_resampled as made inner join silver.market_data as own"
        " using (exchange, symbol, timeframe, open_time) where made.is_complete"
    )
    assert candles.rows(compared) == [{"hours": 833 + 719 + 833 + 590}]
    assert candles.rows("select * from silver.resampling_disagreements where is_complete") == []


@pytest.mark.parametrize(
    ("symbol", "start", "end", "bars", "partial"),
    [
        (BTC, "2021-03-26", "2021-05-01", 417, 3),
        (ETH, "2021-08-09", "2021-09-14", 416, 1),
    ],
)
def test_minutes_with_outages_equal_the_exchanges_two_hours_partial_ones_included(
    of_minutes: Resampled, recorded_data: Path, symbol: str, start: str, end: str, bars: int, partial: int
) -> None:
    # The file begins and ends within a bar.
    made = dict([*between(of_minutes.bars(symbol, "2h"), start, end).items()][1:-1])
    name = f"2h/{symbol.replace('/', '')}-2h-2017-08-17_2026-04-30"
    own = between(own_bars(recorded(recorded_data, name)), min(made).isoformat()[:19], end)
    assert_equal_bars(made, {at: bar for at, bar in own.items() if at <= max(made)}, STATED)
    assert len(made) == bars
    assert sum(not bar["is_complete"] for bar in made.values()) == partial


def test_quarters_equal_the_exchanges_hours_in_every_column(candles: Warehouse, recorded_data: Path) -> None:
    made = Resampled(candles, "15m", ("1h",)).bars(BTC, "1h")
    own = own_bars(recorded(recorded_data, HOURS))
    assert len(made) == 11_668
    assert_equal_bars(made, {at: own[at] for at in own if min(made) <= at <= max(made)}, VALUES)


def test_hours_equal_the_exchanges_two_hours_in_every_column(candles: Warehouse, recorded_data: Path) -> None:
    made = Resampled(candles, "1h", ("2h",)).bars(BTC, "2h")
    own = own_bars(recorded(recorded_data, "2h/BTCUSDT-2h-2017-08-17_2026-04-30"))
    assert len(made) == 18_962
    assert_equal_bars(made, {at: own[at] for at in own if at >= min(made)}, VALUES)
    partial = [at for at, bar in made.items() if not bar["is_complete"]]
    assert partial == [utc("2023-03-24 12:00")]
