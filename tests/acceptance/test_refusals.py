"""What must not enter, does not: a broken manifest leaves every layer alone, a bad market is refused by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark]

CLOCK = "2025-03-05T06:00:00Z"
WINDOW = ("--start", "2025-03-03", "--end", "2025-03-05T00:00:00Z")
TOO_NARROW = json.dumps([{"symbol": "ETH/USDT", "low": 0.01, "high": 0.02}])


def run_both(world: World, **environ: str) -> tuple[int, dict[str, object], str]:
    symbols = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    done = world.command(
        *("run", "--dataset", "ohlcv", "--exchange", "binance", *symbols, "--timeframe", "15m", *WINDOW),
        *("--build", "--json"),
        environ=environ,
    )
    return done.code, json.loads(done.out), done.err


@pytest.fixture(scope="module")
def refused(make_world: MakeWorld) -> World:
    """A world in which one market was refused because its bound was set too narrow."""
    world = make_world(SyntheticMarket(5), CLOCK)
    code, _, err = run_both(world, MARKETLAKE__QUALITY__PRICE_BOUNDS=TOO_NARROW)
    assert code == 1
    assert "ETH/USDT" in err
    assert "price out of bounds" in err
    return world


def test_the_other_market_goes_through_to_gold(refused: World) -> None:
    assert refused.rows("select symbol, count(*) from bronze.ohlcv group by 1") == [("BTC/USDT", 192)]
    assert {row[0] for row in refused.rows("select symbol from silver.market_data_enriched")} == {"BTC/USDT"}
    found = refused.rows("select state from ops.coverage where symbol = 'ETH/USDT' and state <> 'not_listed'")
    assert {state for (state,) in found} == {"failed"}


def test_after_the_cause_is_mended_the_same_sealed_manifest_loads(refused: World) -> None:
    refused.sandbox.clear_requests()
    code, _, err = run_both(refused)
    assert code == 0, err
    assert refused.sandbox.requests(prefix="/api/v3/klines") == []
    assert sorted(refused.rows("select symbol, count(*) from bronze.ohlcv group by 1")) == [
        ("BTC/USDT", 192),
        ("ETH/USDT", 192),
    ]


@pytest.mark.sample
def test_planted_bad_rows_arrive_in_the_dlq_with_their_reasons(make_world: MakeWorld) -> None:
    world = make_world(SyntheticMarket(6), CLOCK)
    world.sandbox.faults.add(
        "unreadable_number",
        symbol="BTCUSDT",
        timeframe="15m",
        start="2025-03-04T10:00:00Z",
        end="2025-03-04T10:30:00Z",
    )
    code, _, err = run_both(world)
    assert code == 0, err

    listed = world.succeed("dlq", "list")
    assert len(listed) == 2
    assert {reason for row in listed for reason in row["dlq_reasons"]} == {"missing price"}
    files = [json.loads(path.read_text()) for path in Path(world.home, "dlq").glob("dlq_*.json")]
    assert [record["reason"] for tree in files for record in tree["records"]] == ["missing price"] * 2
    assert {tree["context"]["asset_pair"] for tree in files} == {"BTC/USDT"}
    assert world.rows("select symbol, count(*) from bronze.ohlcv group by 1 order by 1") == [
        ("BTC/USDT", 190),
        ("ETH/USDT", 192),
    ]
    rejected = "select sum(rejected) from bronze.market_day_quality where symbol = 'BTC/USDT'"
    assert world.rows(rejected) == [(2,)]
