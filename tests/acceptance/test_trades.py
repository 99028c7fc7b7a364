"""Trades through the whole path: by id from REST, by day from archives, each once; candles rebuilt from them."""

from __future__ import annotations

import pytest

from marketlake.instants import parse_instant, to_epoch_ms
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark]

CLOCK = "2025-03-05T06:00:00Z"
SYMBOL = "ETH/USDT"
HOURS = [("02:00", "03:30"), ("00:30", "02:30"), ("00:00", "04:00")]
IDS = "select count(*), count(distinct trade_id), min(trade_id::bigint), max(trade_id::bigint) from bronze.trades"
VALUES = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume")


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(11)


def truth(market: SyntheticMarket, start: str, end: str) -> tuple[int, int, int, int]:
    """Return count, distinct count, first and last aggregate id between two instants."""
    listing = market.listings("spot")[SYMBOL.replace("/", "")]
    ids = market.fills(listing, to_epoch_ms(parse_instant(start)), to_epoch_ms(parse_instant(end))).number
    return ids.size, ids.size, int(ids[0]), int(ids[-1])


def load(world: World, start: str, end: str, *more: str) -> None:
    world.succeed("run", "--dataset", "trades", "--symbol", SYMBOL, "--start", start, "--end", end, *more)


@pytest.mark.sample
def test_pages_of_any_order_and_overlap_give_each_trade_once(make_world: MakeWorld, market: SyntheticMarket) -> None:
    world = make_world(market, CLOCK)

    for start, end in HOURS:
        load(world, f"2025-03-05T{start}:00Z", f"2025-03-05T{end}:00Z", "--source", "rest")

    expected = truth(market, "2025-03-05T00:00:00Z", "2025-03-05T04:00:00Z")
    assert world.rows(IDS) == [expected]
    assert world.succeed("sql", "select count(*) as rows from bronze.trades") == [{"rows": expected[0]}]


@pytest.mark.parametrize("order", [("archive", "rest"), ("rest", "archive")])
def test_archive_and_rest_agree_on_every_trade(
    make_world: MakeWorld, market: SyntheticMarket, order: tuple[str, str]
) -> None:
    world = make_world(market, CLOCK)

    for source in order:
        load(world, "2025-03-03", "2025-03-04", "--source", source)

    expected = truth(market, "2025-03-03T00:00:00Z", "2025-03-04T00:00:00Z")
    assert world.rows(IDS) == [expected]
    assert world.rows("select distinct source from bronze.trades") == [("archive",)]
    assert world.rows("select count(*) from ops.source_disagreements") == [(0,)]
    sides = world.succeed("sql", "select count(distinct taker_side) as sides, count(*) as rows from raw_trades")
    assert sides == [{"sides": 2, "rows": expected[0]}]


def test_a_hole_that_no_source_fills_is_rebuilt_from_trades(make_world: MakeWorld, market: SyntheticMarket) -> None:
    world = make_world(market, CLOCK)
    hole = ("2025-03-03T10:07:00Z", "2025-03-03T10:31:00Z")
    day = ("2025-03-03", "2025-03-04")
    world.sandbox.faults.add("gaps", symbol="ETHUSDT", timeframe="1m", start=hole[0], end=hole[1])

    world.load(SYMBOL, "1m", *day)
    assert world.rows("select count(*) from bronze.ohlcv") == [(1440 - 24,)]
    load(world, *day)
    world.load(SYMBOL, "1m", *day, "--build")

    wanted = market.candles(SYMBOL, "1m", *hole).select(VALUES).to_pylist()
    found = world.rows(f"select {', '.join(VALUES)} from bronze.ohlcv where source = 'rebuilt' order by open_time")
    assert [dict(zip(VALUES, row, strict=True)) for row in found] == wanted
    assert world.succeed("gaps", "--symbol", SYMBOL, "--status", "open") == []
    silver = "select count(*) from silver.market_data_enriched where timeframe = '1m' and source = 'rebuilt'"
    assert world.rows(silver) == [(24,)]


def test_minutes_without_a_trade_are_explained_by_the_recorded_trades(recorded_world: World) -> None:
    window = ("2019-10-11T00:00:00Z", "2019-10-13T11:20:00Z")
    recorded_world.load("XRP/ETH", "1m", *window)
    recorded_world.succeed(
        "run", "--dataset", "trades", "--symbol", "XRP/ETH", "--start", window[0], "--end", window[1]
    )
    assert recorded_world.rows(IDS)[0][:2] == (12_477, 12_477)

    recorded_world.load("XRP/ETH", "1m", *window)

    states = "select state, sum(extract(epoch from range_end - range_start) / 60)::int from ops.coverage"
    found = dict(recorded_world.rows(states + " where dataset = 'ohlcv' and timeframe = '1m' group by 1"))
    assert found == {"present": 2_469, "no_trades": 1_091}
    assert recorded_world.rows("select count(*) from ops.source_disagreements") == [(0,)]


def test_a_jump_in_the_ids_stays_open_until_the_trades_come(make_world: MakeWorld, market: SyntheticMarket) -> None:
    world = make_world(market, CLOCK)
    day = ("2025-03-03", "2025-03-04")
    world.sandbox.faults.add(
        "gaps", symbol="ETHUSDT", endpoint="aggTrades", start="2025-03-03T10:00:00Z", end="2025-03-03T10:20:00Z"
    )

    load(world, *day)
    [(start, end)] = world.rows(
        "select range_start, range_end from ops.coverage where dataset = 'trades' and state = 'pending'"
    )
    assert parse_instant("2025-03-03T09:50:00Z") < start < parse_instant("2025-03-03T10:00:00Z")
    assert parse_instant("2025-03-03T10:20:00Z") <= end < parse_instant("2025-03-03T10:30:00Z")
    world.sandbox.faults.clear()
    load(world, *day)

    assert world.rows(IDS) == [truth(market, "2025-03-03T00:00:00Z", "2025-03-04T00:00:00Z")]
    states = "select distinct state from ops.coverage where dataset = 'trades' and state <> 'not_listed'"
    assert world.rows(states) == [("present",)]
