"""Incremental builds equal full refreshes, whatever came late (TRF-01, TRF-08, TRF-28)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from tests.dbt.warehouse import Warehouse, candle, random_candles, utc

START, MINUTE, HOUR, DAY = utc("2025-01-01"), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SYMBOL = "ETH/USDT"
MARTS = {
    "mart_market_daily": ("market_date", "exchange", "symbol"),
    "mart_market_regime_stats": ("stats_date", "symbol", "timeframe", "market_regime"),
}


class Built:
    """A warehouse after its first build, with the queries that a full refresh of each mart would run."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        compiled = Path(warehouse.settings.home) / "dbt" / "target" / "compiled" / "marketlake" / "models" / "gold"
        self.full = {mart: (compiled / f"{mart}.sql").read_text() for mart in MARTS}

    def change(self, timeframe: str, start: object, end: object) -> None:
        self.warehouse.publish(SYMBOL, timeframe, start, end)  # type: ignore[arg-type]

    def build(self) -> None:
        self.warehouse.dbt("run", "--select", "market_data_indicators+", "market_data_resampled", "mart_market_daily")

    def assert_equal_to_full_refresh(self) -> None:
        stored = self.warehouse.rows(
            "select i.* from staging.market_data_indicators as i order by symbol, timeframe, open_time"
        )
        expected = self.warehouse.rows(
            "select * from staging.int_market_data_recomputed order by symbol, timeframe, open_time"
        )
        assert [(row["timeframe"], row["open_time"]) for row in stored] == [
            (row["timeframe"], row["open_time"]) for row in expected
        ]
        for name in expected[0]:
            assert [row[name] for row in stored] == [row[name] for row in expected], name
        for mart, key in MARTS.items():
            self.assert_mart_is_full(mart, ", ".join(key))

    def assert_mart_is_full(self, mart: str, key: str) -> None:
        built = self.stored(mart, key)
        full = self.warehouse.rows(f"select * from ({self.full[mart]}) as fresh order by {key}")
        assert built
        for row in full:
            del row["refreshed_at"]
        assert built == full

    def stored(self, mart: str, key: str) -> list[dict[str, object]]:
        rows = self.warehouse.rows(f"select * from gold_build.{mart} order by {key}")
        for row in rows:
            del row["refreshed_at"]
        return rows


@pytest.fixture(scope="module")
def built(warehouse: Warehouse) -> Built:
    minutes = random_candles(START, "1m", 9000, seed=1)
    warehouse.put(SYMBOL, "1m", minutes[:-1440])
    warehouse.put(SYMBOL, "1h", random_candles(START - 40 * DAY, "1h", 1500, seed=2))
    warehouse.put_funding(f"{SYMBOL}:USDT", [(START + n * 8 * HOUR, Decimal("0.0001") * n) for n in range(9)])
    warehouse.publish(SYMBOL, "1m", START, START + 7560 * MINUTE)
    warehouse.publish(SYMBOL, "1h", START - 40 * DAY, START + 30 * DAY)
    warehouse.publish(f"{SYMBOL}:USDT", "", START, START + 4 * DAY, dataset="funding_rates")
    warehouse.dbt("run")
    return Built(warehouse)


def test_a_first_build_equals_a_walk_from_the_start(built: Built) -> None:
    built.assert_equal_to_full_refresh()


def test_a_new_day_is_appended(built: Built) -> None:
    built.warehouse.put(SYMBOL, "1m", random_candles(START, "1m", 9000, seed=1)[-1440:])
    built.change("1m", START + 7560 * MINUTE, START + 9000 * MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()


def test_a_late_correction_is_followed_until_it_is_forgotten(built: Built) -> None:
    before = written_rows(built)
    at = START + 2000 * MINUTE
    built.warehouse.put(SYMBOL, "1m", random_candles(at, "1m", 3, seed=3, price=130.0))
    built.change("1m", at, at + 3 * MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    rewritten = 9000 + 1500 - len(before & written_rows(built))
    assert 2763 < rewritten < 6000


def test_a_changed_volume_is_followed_as_far_as_windows_reach(built: Built) -> None:
    before = written_rows(built)
    at = START + 5000 * MINUTE
    candles = built.warehouse.rows(
        "select open_time, open, high, low, close, volume * 3 as volume, quote_volume * 3 as quote_volume"
        " from bronze.ohlcv where timeframe = '1m' and open_time = %s",
        [at],
    )
    built.warehouse.put(SYMBOL, "1m", [tuple(candles[0].values())])  # type: ignore[list-item]
    built.change("1m", at, at + MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    assert 9000 + 1500 - len(before & written_rows(built)) <= 3 * 1024


def test_a_candle_before_the_first_one_moves_every_start(built: Built) -> None:
    at = START - 7 * MINUTE
    built.warehouse.put(SYMBOL, "1m", random_candles(at, "1m", 2, seed=4))
    built.change("1m", at, at + 2 * MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()


def test_retracted_candles_leave_nothing_behind(built: Built) -> None:
    middle, last = START + 4 * DAY, START + 8999 * MINUTE
    built.warehouse.retract(SYMBOL, "1m", [middle + n * MINUTE for n in range(1440)])
    built.change("1m", middle, middle + DAY)
    built.warehouse.retract(SYMBOL, "1m", [last])
    built.change("1m", last, last + MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    days = built.warehouse.rows("select 1 from gold_build.mart_market_daily where market_date = %s", [middle.date()])
    assert days == []


def test_several_changes_of_one_market_are_one_walk_or_several(built: Built) -> None:
    for minute in (100, 1100, 8900):
        at = START + minute * MINUTE
        built.warehouse.put(SYMBOL, "1m", random_candles(at, "1m", 1, seed=minute))
        built.change("1m", at, at + MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()


def test_a_market_that_stands_still_for_days_comes_to_rest(built: Built) -> None:
    quiet = "QUIET/USDT"
    moving = random_candles(START, "1m", 300, seed=9)
    price = moving[-1][4]
    still = [(START + n * MINUTE, *(price,) * 4, Decimal(0), Decimal(0)) for n in range(300, 13_000)]
    built.warehouse.put(quiet, "1m", [*moving, *still])
    built.warehouse.publish(quiet, "1m", START, START + 13_000 * MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    at_rest = "atr_14, rsi_14, plus_di_14, minus_di_14, bb_deviation, return_deviation_20, cci_20, mfi_14, stoch_k"
    query = f"select {at_rest} from staging.market_data_indicators where symbol = %s order by open_time desc limit 1"
    [last] = built.warehouse.rows(query, [quiet])
    assert {*last.values()} == {0.0}


def test_a_window_that_a_spike_has_left_has_all_its_digits(built: Built) -> None:
    spiky = "SPIKE/USDT"
    candles = random_candles(START, "1m", 300, seed=12)
    at, open_, high, low, close, volume, quote_volume = candles[150]
    assert quote_volume is not None
    candles[150] = (at, open_, high * 10**6, low, close * 10**6, volume * 10**9, quote_volume * 10**15)
    built.warehouse.put(spiky, "1m", candles)
    built.warehouse.publish(spiky, "1m", START, START + 300 * MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    columns = built.warehouse.columns(
        "select close, volume, quote_volume, vwap_20, bb_deviation, return_deviation_20"
        " from staging.market_data_indicators where symbol = %s order by open_time",
        [spiky],
    )
    close, volume, quote_volume = (last_20(columns[name]) for name in ("close", "volume", "quote_volume"))
    returns = np.diff(np.log(last_20(columns["close"], 21)))
    assert np.allclose(columns["vwap_20"][172:], (quote_volume.sum(1) / volume.sum(1))[153:], rtol=1e-10, atol=0)
    assert np.allclose(columns["bb_deviation"][172:], close.std(1)[153:], rtol=1e-10, atol=0)
    assert np.allclose(columns["return_deviation_20"][172:], returns.std(1, ddof=1)[152:], rtol=1e-10, atol=0)


def last_20(values: np.ndarray, length: int = 20) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(values, length)


def test_a_change_is_followed_into_the_next_segment(built: Built) -> None:
    edge, border = "EDGE/USDT", utc("2025-01-27T21:52")
    warehouse = built.warehouse
    warehouse.put(edge, "1m", random_candles(border - 6000 * MINUTE, "1m", 9000, seed=15))
    warehouse.publish(edge, "1m", border - 6000 * MINUTE, border + 3000 * MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    of_border = "select open_time from staging.market_data_indicators where symbol = %s and state_before is not null"
    assert {"open_time": border} in warehouse.rows(of_border, [edge])
    for at, count in ((-5900, 3), (-3200, 2), (-3000, 2), (-1, 2), (-300, 1)):
        start = border + at * MINUTE
        warehouse.put(edge, "1m", random_candles(start, "1m", count, seed=17, price=104.0))
        warehouse.publish(edge, "1m", start, start + count * MINUTE)
        built.build()
        built.assert_equal_to_full_refresh()


def test_retracted_candles_on_both_sides_of_a_border_shift_the_warm_up(built: Built) -> None:
    edge, border = "EDGE/USDT", utc("2025-01-27T21:52")
    start, end = border - 400 * MINUTE, border + 1500 * MINUTE
    built.warehouse.retract(edge, "1m", [start + n * MINUTE for n in range(1900)])
    built.warehouse.publish(edge, "1m", start, end)
    built.build()
    built.assert_equal_to_full_refresh()


def test_a_change_that_is_forgotten_before_a_border_does_not_cross_it(built: Built) -> None:
    edge, border = "EDGE/USDT", utc("2025-01-27T21:52")
    before = written_rows(built)
    at = border - 2500 * MINUTE
    built.warehouse.connection.execute(
        "update bronze.ohlcv set volume = volume * 3 where symbol = %s and open_time = %s", [edge, at]
    )
    built.warehouse.publish(edge, "1m", at, at + MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    assert 0 < len(written_rows(built) - before) <= 3 * 1024


def test_a_walk_agrees_before_a_border_while_the_next_segment_begins_elsewhere(built: Built) -> None:
    shifted, border = "SHIFT/USDT", utc("2025-01-27T21:52")
    warehouse = built.warehouse
    candles = random_candles(border - 6000 * MINUTE, "1m", 6600, seed=21)
    spike = 6000 - 4096 + 4  # the 3,073rd candle before the border, so the first of its warm-up when one is gone
    at, open_, high, low, close, *amounts = candles[spike]
    candles[spike] = (at, open_, high * 3, low, close * 3, *amounts)
    last_block = candles[6000 - 1024 : 6000 - 1019]
    warehouse.put(shifted, "1m", [*candles[: 6000 - 1024], *last_block, *candles[6000:]])
    warehouse.publish(shifted, "1m", border - 6000 * MINUTE, border + 600 * MINUTE)
    built.build()
    warehouse.retract(shifted, "1m", [at + 10 * MINUTE])
    publication = warehouse.publish(shifted, "1m", at + 10 * MINUTE, at + 11 * MINUTE)
    built.build()
    built.assert_equal_to_full_refresh()
    of_build = "select open_time from staging.market_data_indicators where symbol = %s and publication_id = %s"
    written = {row["open_time"] for row in warehouse.rows(of_build, [shifted, publication])}
    assert border in written
    assert last_block[0][0] not in written


def test_a_second_walk_looks_back_to_rows_that_the_first_one_replaces(built: Built) -> None:
    sparse, block = "SPARSE/USDT", utc("2025-01-08")
    warehouse = built.warehouse
    candles = random_candles(block, "1h", 4 * 1024, seed=22)
    warehouse.put(sparse, "1h", candles[: 2 * 1024 + 50] + candles[3 * 1024 :])
    warehouse.publish(sparse, "1h", block, block + 4 * 1024 * HOUR)
    built.build()
    for at in (block + 10 * HOUR, block + (3 * 1024 + 10) * HOUR):
        warehouse.connection.execute(
            "update bronze.ohlcv set volume = volume * 3 where symbol = %s and open_time = %s", [sparse, at]
        )
        warehouse.publish(sparse, "1h", at, at + HOUR)
    built.build()
    built.assert_equal_to_full_refresh()


def test_a_retracted_block_of_a_market_that_stands_still_leaves_a_gap(built: Built) -> None:
    still, block = "STILL/USDT", utc("2025-01-08")
    warehouse = built.warehouse
    warehouse.put(still, "1h", [candle(block + n * HOUR, 100, 100, 100, 100, 0) for n in range(4 * 1024)])
    warehouse.publish(still, "1h", block, block + 4 * 1024 * HOUR)
    built.build()
    warehouse.publish(still, "1h", block + 500 * HOUR, block + 501 * HOUR)
    warehouse.retract(still, "1h", [block + n * HOUR for n in range(2 * 1024, 3 * 1024)])
    warehouse.publish(still, "1h", block + 2 * 1024 * HOUR, block + 3 * 1024 * HOUR)
    built.build()
    built.assert_equal_to_full_refresh()


def test_a_build_without_publications_writes_nothing(built: Built) -> None:
    before = written_rows(built)
    built.build()
    assert written_rows(built) == before


def test_a_full_refresh_gives_the_same_rows(built: Built) -> None:
    before = {mart: built.stored(mart, ", ".join(key)) for mart, key in MARTS.items()}
    built.warehouse.dbt("run", "--full-refresh", "--no-partial-parse")
    built.assert_equal_to_full_refresh()
    assert {mart: built.stored(mart, ", ".join(key)) for mart, key in MARTS.items()} == before


def test_models_remember_the_last_publication_that_they_hold(built: Built) -> None:
    progress = built.warehouse.rows("select model, publication_id from ops.model_progress order by model")
    newest = built.warehouse.rows("select max(publication_id) as id from ops.publications")[0]["id"]
    names = ["market_data_indicators", "market_data_resampled", "mart_market_daily", "mart_market_regime_stats"]
    assert progress == [{"model": name, "publication_id": newest} for name in names]


def written_rows(built: Built) -> set[tuple[object, ...]]:
    """Return which row was written by which build: a row that is written again is another one."""
    rows = built.warehouse.rows("select timeframe, open_time, publication_id from staging.market_data_indicators")
    return {tuple(row.values()) for row in rows}
