"""Candles from trades: exact, by event time, equal to the exchange's own (TRF-13)."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from marketlake.errors import DataError, UnknownNameError
from marketlake.instants import Window, floor_instant
from marketlake.lake.trade_candles import CANDLE_SCHEMA, candles_from_trades
from marketlake.timeframes import grid_count
from tests.recorded_trades import TRADES, aggregate_trades, captured_trades, recorded_candles

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
EXACT = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")


def trade(seconds: float, price: str, amount: str, side: str | None = "buy", **changed: Any) -> dict[str, Any]:
    row = {
        "event_time": NOON + timedelta(seconds=seconds), "price": Decimal(price), "amount": Decimal(amount),
        "taker_side": side, "trade_kind": "trade", "trade_id": "1", "first_trade_id": None, "last_trade_id": None,
    }  # fmt: skip
    return row | changed


def built(rows: list[dict[str, Any]], timeframe: str = "1m") -> list[dict[str, Any]]:
    table = candles_from_trades(pa.Table.from_pylist(rows, schema=TRADES), timeframe)
    assert table.schema == CANDLE_SCHEMA
    return table.to_pylist()


def expected(rows: list[dict[str, Any]], step: timedelta) -> list[dict[str, Any]]:
    """The definition, row by row in Python's exact decimals."""
    slots: dict[datetime, list[dict[str, Any]]] = {}
    for row in rows:
        slots.setdefault(floor_instant(row["event_time"], step), []).append(row)
    candles = []
    for open_time, inside in sorted(slots.items()):
        prices = [row["price"] for row in inside]
        buys = [row for row in inside if row["taker_side"] == "buy"]
        candles.append(
            {
                "open_time": open_time, "open": prices[0], "high": max(prices), "low": min(prices),
                "close": prices[-1], "volume": sum(row["amount"] for row in inside),
                "quote_volume": sum(row["price"] * row["amount"] for row in inside), "trade_count": len(inside),
                "taker_buy_volume": sum((row["amount"] for row in buys), Decimal(0)),
                "taker_buy_quote_volume": sum((row["price"] * row["amount"] for row in buys), Decimal(0)),
            }
        )  # fmt: skip
    return candles


@pytest.mark.parametrize(("timeframe", "minutes"), [("1m", 1), ("5m", 5), ("7m", 7), ("2h", 120), ("1d", 1440)])
def test_any_trades_give_what_the_definition_says(timeframe: str, minutes: int) -> None:
    rng = random.Random(3)
    rows = [
        trade(
            rng.randrange(200_000) / 7,
            f"{rng.randrange(1, 10**7)}.{rng.randrange(10**6):06d}",
            f"{rng.randrange(100)}.{rng.randrange(10**6):06d}",
            rng.choice(["buy", "sell"]),
        )
        for _ in range(5_000)
    ]
    assert built(rows, timeframe) == expected(rows, timedelta(minutes=minutes))


def test_the_order_of_the_rows_decides_within_an_instant() -> None:
    rows = [trade(5, "3", "1"), trade(5, "1", "1"), trade(5, "2", "1")]
    [candle] = built(rows)
    assert (candle["open"], candle["high"], candle["low"], candle["close"]) == (3, 3, 1, 2)


def test_a_trade_at_the_edge_of_a_minute_belongs_to_the_next() -> None:
    opens = [candle["open_time"] for candle in built([trade(59.999999, "1", "1"), trade(60, "2", "1")])]
    assert opens == [NOON, NOON + timedelta(minutes=1)]


def test_slots_without_a_trade_have_no_row_and_no_trades_no_candles() -> None:
    assert [candle["open_time"].minute for candle in built([trade(0, "1", "1"), trade(600, "1", "1")])] == [0, 10]
    assert built([]) == []


def test_candles_come_by_open_time_where_ids_and_times_disagree() -> None:
    candles = built([trade(61, "1", "1"), trade(59, "2", "1"), trade(62, "3", "1")])
    assert [(one["open_time"], one["open"], one["close"]) for one in candles] == [
        (NOON, 2, 2), (NOON + timedelta(minutes=1), 1, 3),
    ]  # fmt: skip


def test_an_aggregate_trade_counts_the_trades_that_it_joins() -> None:
    agg = {"trade_kind": "agg", "first_trade_id": 10, "last_trade_id": 12}
    rows = [trade(1, "1", "1", **agg), trade(2, "1", "1", **agg | {"first_trade_id": 13, "last_trade_id": 13})]
    assert built(rows)[0]["trade_count"] == 4
    unknown = trade(3, "1", "1", trade_kind="agg")
    assert built([*rows, unknown])[0]["trade_count"] is None


def test_a_sum_that_does_not_fit_is_null_and_never_rounded() -> None:
    fine = trade(1, "0.0000001", "0.000001")
    [candle] = built([fine])
    assert (candle["volume"], candle["quote_volume"]) == (Decimal("0.000001"), None)
    [candle] = built([trade(1, "1", "9999999999999999"), trade(2, "1", "1", "sell")])
    assert (candle["volume"], candle["quote_volume"]) == (None, None)
    assert candle["taker_buy_volume"] == candle["taker_buy_quote_volume"] == 9999999999999999
    [candle] = built([fine] * 10)
    assert candle["quote_volume"] == Decimal("0.000000000001")


def test_one_slot_that_does_not_fit_leaves_the_others_alone() -> None:
    candles = built([trade(1, "0.0000001", "0.000001"), trade(61, "2.5", "4")])
    assert [one["quote_volume"] for one in candles] == [None, 10]


def test_the_largest_values_are_summed_exactly() -> None:
    largest = "9999999999999999.999999999999"
    [candle] = built([trade(1, largest, "0.000000000001", "sell"), trade(2, largest, "0.000000000001")])
    assert candle["volume"] == Decimal("0.000000000002")
    assert candle["quote_volume"] is None
    assert candle["high"] == Decimal(largest)


def test_an_unknown_side_leaves_the_takers_share_unknown() -> None:
    [candle] = built([trade(1, "2", "1"), trade(2, "2", "1", None)])
    assert (candle["volume"], candle["quote_volume"]) == (2, 4)
    assert (candle["taker_buy_volume"], candle["taker_buy_quote_volume"]) == (None, None)


def test_no_buyer_is_zero_and_not_unknown() -> None:
    [candle] = built([trade(1, "2", "1", "sell")])
    assert (candle["taker_buy_volume"], candle["taker_buy_quote_volume"]) == (0, 0)


def test_trades_of_two_kinds_are_refused() -> None:
    both = [trade(1, "1", "1"), trade(1, "1", "1", trade_kind="agg", first_trade_id=1, last_trade_id=1)]
    with pytest.raises(DataError, match=r"one kind, 'agg' or 'trade'.*was \['agg', 'trade'\]: filter by trade_kind"):
        built(both)


def test_a_trade_without_a_value_is_refused() -> None:
    with pytest.raises(DataError, match=r"nulls by column: \{'price': 1\}"):
        built([trade(1, "1", "1") | {"price": None}])


def test_a_timeframe_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="was '60'"):
        built([trade(1, "1", "1")], "60")


class TestAggregateTradesOf2019:
    """XRP/ETH, 2019-10-11 00:00 … 10-13 11:20."""

    @pytest.fixture(scope="class")
    def trades(self, recorded_data: Path) -> pa.Table:
        return aggregate_trades(recorded_data)

    @pytest.fixture(scope="class")
    def minutes(self, trades: pa.Table) -> pa.Table:
        return candles_from_trades(trades, "1m")

    def test_their_ids_are_contiguous(self, trades: pa.Table) -> None:
        ids = [int(one) for one in trades["trade_id"].to_pylist()]
        assert ids == list(range(ids[0], ids[0] + 12_477))
        firsts, lasts = (trades[name].to_pylist() for name in ("first_trade_id", "last_trade_id"))
        assert firsts[1:] == [one + 1 for one in lasts[:-1]]

    def test_they_rebuild_every_recorded_minute(self, minutes: pa.Table, recorded_data: Path) -> None:
        recorded = recorded_candles(recorded_data, "1m/XRPETH-1m-2019-10-11_2019-10-13")
        assert recorded.num_rows == 2_469
        assert minutes.select(recorded.column_names).equals(recorded)

    def test_the_other_minutes_have_no_trade(self, minutes: pa.Table) -> None:
        window = Window(datetime(2019, 10, 11, tzinfo=UTC), datetime(2019, 10, 13, 11, 20, tzinfo=UTC))
        inside = [one for one in minutes["open_time"].to_pylist() if window.start <= one < window.end]
        assert grid_count(window, "1m") - len(inside) == 1_091
        assert len(inside) == minutes.num_rows

    def test_nothing_is_lost_between_trades_and_candles(self, trades: pa.Table, minutes: pa.Table) -> None:
        assert pc.sum(minutes["volume"]) == pc.sum(trades["amount"])
        first, last = trades["first_trade_id"][0].as_py(), trades["last_trade_id"][-1].as_py()
        assert pc.sum(minutes["trade_count"]).as_py() == last - first + 1
        assert not any(minutes[name].null_count for name in CANDLE_SCHEMA.names)

    def test_longer_candles_are_those_of_their_minutes(self, trades: pa.Table, minutes: pa.Table) -> None:
        hours = candles_from_trades(trades, "1h")
        assert hours.num_rows == 60
        for name in ("volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume"):
            assert pc.sum(hours[name]) == pc.sum(minutes[name])


def test_the_ten_full_minutes_of_the_capture_equal_the_exchanges(recorded_data: Path) -> None:
    trades = captured_trades(recorded_data, "20240808", "20240809")
    start = datetime(2024, 8, 8, 23, 55, tzinfo=UTC)
    wanted = [start + timedelta(minutes=one) for one in range(10)]
    minutes = candles_from_trades(trades, "1m")
    rebuilt = minutes.filter(pc.is_in(minutes["open_time"], pa.array(wanted, minutes["open_time"].type)))
    recorded = recorded_candles(recorded_data, "1m/BTCUSDT-1m-2024-07-26_2024-08-25")
    recorded = recorded.filter(pc.is_in(recorded["open_time"], pa.array(wanted, recorded["open_time"].type)))
    assert recorded["open_time"].to_pylist() == wanted
    assert rebuilt.select(recorded.column_names).equals(recorded)
