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
EARLIER = ("--start", "2025-03-02", "--end", "2025-03-03")
# Found by every Python that a command starts: the job's conformer then emits one observation twice.
EMITTING_ONCE_MORE = """
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "spark_jobs.bronze.conform":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            real = module.conform

            def conform(*arguments, **options):
                rows = real(*arguments, **options)
                kept = rows.where("manifest_no = 0 and fate = 'kept'")
                return rows.unionAll(kept.orderBy("open_time").limit(1))

            module.conform = conform

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""
TOO_NARROW = json.dumps([{"symbol": "ETH/USDT", "low": 0.01, "high": 0.02}])


def run_both(world: World, window: tuple[str, ...] = WINDOW, **environ: str) -> tuple[int, dict[str, object], str]:
    symbols = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    done = world.command(
        *("run", "--dataset", "ohlcv", "--exchange", "binance", *symbols, "--timeframe", "15m", *window),
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
    assert "clear load_bronze and what follows it, or run the same window again" in err
    return world


def test_the_other_market_goes_through_to_gold(refused: World) -> None:
    assert refused.rows("select symbol, count(*) from bronze.ohlcv group by 1") == [("BTC/USDT", 192)]
    assert {row[0] for row in refused.rows("select symbol from silver.market_data_enriched")} == {"BTC/USDT"}
    found = refused.rows("select state from ops.coverage where symbol = 'ETH/USDT' and state <> 'not_listed'")
    assert {state for (state,) in found} == {"failed"}


def test_a_run_by_hand_that_is_refused_again_ends_red_too(refused: World) -> None:
    refused.sandbox.clear_requests()
    code, document, err = run_both(refused, MARKETLAKE__QUALITY__PRICE_BOUNDS=TOO_NARROW)

    assert (code, document["state"]) == (1, "failed")
    assert "ETH/USDT ohlcv was refused" in err
    assert "clear load_bronze" in err
    assert refused.sandbox.requests(prefix="/api/v3/klines") == []


def test_after_the_cause_is_mended_the_same_sealed_manifest_loads(refused: World) -> None:
    refused.sandbox.clear_requests()
    code, _, err = run_both(refused)
    assert code == 0, err
    assert refused.sandbox.requests(prefix="/api/v3/klines") == []
    assert sorted(refused.rows("select symbol, count(*) from bronze.ohlcv group by 1")) == [
        ("BTC/USDT", 192),
        ("ETH/USDT", 192),
    ]
    both = {"BTC/USDT", "ETH/USDT"}
    assert {row[0] for row in refused.rows("select symbol from silver.market_data_enriched")} == both
    assert {row[0] for row in refused.rows("select symbol from gold.mart_market_regime_stats")} == both


def test_a_manifest_whose_critical_expectation_fails_leaves_every_layer_as_it_was(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world(SyntheticMarket(7), CLOCK)
    code, _, err = run_both(world, EARLIER)
    assert code == 0, err
    before = world.digests()
    (tmp_path / "sitecustomize.py").write_text(EMITTING_ONCE_MORE)

    code, document, err = run_both(world, PYTHONPATH=str(tmp_path))

    assert (code, document["state"]) == (1, "failed")
    assert "observations_are_distinct (1 rows)" in err
    assert "clear load_bronze and what follows it" in err
    assert world.digests() == before
    world.sandbox.clear_requests()
    code, _, err = run_both(world)
    assert code == 0, err
    assert world.sandbox.requests(prefix="/api/v3/klines") == []
    counts = "select symbol, count(*) from silver.market_data_enriched group by 1 order by 1"
    assert world.rows(counts) == [("BTC/USDT", 288), ("ETH/USDT", 288)]


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
