"""Trades through the whole path: by id from REST, by day from archives, each once in whatever order and overlap."""

from __future__ import annotations

from datetime import datetime

import pytest

from marketlake.instants import parse_instant, to_epoch_ms
from marketlake.lake import Lake
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark]

CLOCK = "2025-03-05T06:00:00Z"
SYMBOL = "ETH/USDT"
IDS = "select count(*), count(distinct trade_id), min(trade_id::bigint), max(trade_id::bigint) from bronze.trades"


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(11)


def truth(market: SyntheticMarket, start: str, end: str) -> tuple[int, int]:
    """Return the first and the last aggregate id between two instants."""
    listing = market.listings("spot")[SYMBOL.replace("/", "")]
    numbers = market.fills(listing, to_epoch_ms(parse_instant(start)), to_epoch_ms(parse_instant(end))).number
    return int(numbers[0]), int(numbers[-1])


def load(world: World, start: str, end: str, *more: str) -> None:
    world.succeed("run", "--dataset", "trades", "--symbol", SYMBOL, "--start", start, "--end", end, *more)


@pytest.mark.sample
def test_pages_of_any_order_and_overlap_give_each_trade_once(make_world: MakeWorld, market: SyntheticMarket) -> None:
    world = make_world(market, CLOCK)
    for start, end in (("2025-03-05T02:00:00Z", "2025-03-05T03:30:00Z"), ("2025-03-05T00:30:00Z", "2025-03-05T02:30:00Z"),
                       ("2025-03-05T00:00:00Z", "2025-03-05T04:00:00Z")):  # fmt: skip
        load(world, start, end, "--source", "rest")

    first, last = truth(market, "2025-03-05T00:00:00Z", "2025-03-05T04:00:00Z")
    assert world.rows(IDS) == [(last - first + 1, last - first + 1, first, last)]
    stored = world.succeed("sql", "select count(*) as rows from bronze.trades")
    assert stored == [{"rows": last - first + 1}]
