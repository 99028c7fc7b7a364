"""Twice is once: a repeat asks for nothing, writes nothing and starts no JVM; a restated candle becomes a revision."""

from __future__ import annotations

import pytest

from marketlake.lake import Lake
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark, pytest.mark.sample]

CLOCK = "2025-03-05T06:00:00Z"
DAY = ("2025-03-03", "2025-03-04")
MARKET = ("BTC/USDT", "1h")
DATA_REQUESTS = ("/api/v3/klines", "/fapi/v1/klines", "/fapi/v1/fundingRate", "/data/")


@pytest.fixture(scope="module")
def world(make_world: MakeWorld) -> World:
    """A world with one day of one market loaded and built."""
    world = make_world(SyntheticMarket(7), CLOCK)
    world.load(*MARKET, *DAY, "--build")
    return world


def data_requests(world: World) -> list[str]:
    return [entry.path for prefix in DATA_REQUESTS for entry in world.sandbox.requests(prefix=prefix)]


def test_the_same_run_again_asks_for_nothing_and_changes_nothing(world: World) -> None:
    before, versions = world.digests(), world.bronze_versions()
    world.sandbox.clear_requests()
    no_java = {"JAVA_HOME": "/nonexistent", "MARKETLAKE__SPARK__MASTER": "local[none-should-start]"}

    done = world.command("run", *arguments_of(MARKET), "--json", environ=no_java)

    assert done.code == 0, done.err
    assert data_requests(world) == []
    assert world.bronze_versions() == versions
    assert world.digests() == before


def test_a_restated_candle_becomes_revision_one_in_every_layer(world: World) -> None:
    lake = Lake(world.home)
    old = lake.candles(*MARKET, *DAY, exact=True)["close"].to_pylist()
    before = world.rows("select max(known_at) from ops.loads")[0][0]
    world.sandbox.faults.add("restated_candle", symbol="BTCUSDT", timeframe="1h", start="2025-03-03T05:00:00Z",
                             end="2025-03-03T06:00:00Z")  # fmt: skip

    world.load(*MARKET, *DAY, "--mode", "force", "--build")

    new = Lake(world.home).candles(*MARKET, *DAY, exact=True)["close"].to_pylist()
    assert [at for at, (was, now) in enumerate(zip(old, new, strict=True)) if was != now] == [5]
    as_of = Lake(world.home).candles(*MARKET, *DAY, exact=True, as_of=before)["close"].to_pylist()
    assert as_of == old
    closes = "select close from silver.market_data_enriched where symbol = %s and timeframe = %s order by open_time"
    assert [float(row[0]) for row in world.rows(closes, *MARKET)] == pytest.approx([float(value) for value in new])
    query = f"select close::varchar as close from ohlcv_as_of('{before.isoformat()}') where open_time = "
    told = world.succeed("sql", query + "timestamptz '2025-03-03 05:00:00+00'")
    assert [float(row["close"]) for row in told] == [float(old[5])]
    world.sandbox.faults.clear()


def arguments_of(market: tuple[str, str]) -> list[str]:
    symbol, timeframe = market
    return ["--dataset", "ohlcv", "--exchange", "binance", "--symbol", symbol, "--timeframe", timeframe,
            "--start", DAY[0], "--end", DAY[1]]  # fmt: skip
