"""Killed at a named point and run again, every layer equals that of an undisturbed run."""

from __future__ import annotations

import signal

import pytest

from marketlake.lake import Lake
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark]

CLOCK = "2025-03-05T06:00:00Z"
RUN = [
    *("run", "--dataset", "ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT"),
    *("--timeframe", "15m", "--timeframe", "1h", "--start", "2025-03-02", "--end", "2025-03-05T00:00:00Z", "--build"),
]
CRASH_POINTS = (
    "fetch.task_landed",
    "fetch.before_seal",
    "load.between_dlq_and_bronze",
    "load.between_bronze_and_ledger",
    "publish.in_copy",
    "build.in_dbt",
)
# The fixed sample of `make test`; `make acceptance` runs all.
SAMPLE = ("load.between_bronze_and_ledger",)


FORCED = [*RUN, "--mode", "force"]


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(11)


def world_with_bad_rows(make_world: MakeWorld, market: SyntheticMarket) -> World:
    """A world whose exchange sends two candles that the rules reject, so that the DLQ has something to lose."""
    world = make_world(market, CLOCK)
    world.sandbox.faults.add(
        "unreadable_number",
        symbol="BTCUSDT",
        timeframe="15m",
        start="2025-03-04T10:00:00Z",
        end="2025-03-04T10:30:00Z",
    )
    return world


@pytest.fixture(scope="module")
def undisturbed(make_world: MakeWorld, market: SyntheticMarket) -> dict[str, object]:
    """The digests of a run that nothing disturbed."""
    world = world_with_bad_rows(make_world, market)
    done = world.command(*RUN, "--json")
    assert done.code == 0, done.err
    return world.digests()


@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=[pytest.mark.sample] if p in SAMPLE else []) for p in CRASH_POINTS]
)
def test_a_run_killed_and_repeated_leaves_the_same_rows(
    make_world: MakeWorld, market: SyntheticMarket, undisturbed: dict[str, object], point: str
) -> None:
    world = world_with_bad_rows(make_world, market)

    killed = world.command(*RUN, "--json", environ={"MARKETLAKE_CRASH_AT": point})
    assert killed.code in (-signal.SIGKILL, 1), f"{point} did not stop the run: {killed.err[-2000:]}"
    again = world.command(*RUN, "--json")

    assert again.code == 0, again.err
    assert world.digests() == undisturbed


def restated(world: World) -> World:
    """The world after its run, with a candle of the settled window that the exchange has restated since."""
    done = world.command(*RUN, "--json")
    assert done.code == 0, done.err
    world.sandbox.faults.add(
        "restated_candle",
        symbol="BTCUSDT",
        timeframe="1h",
        start="2025-03-03T05:00:00Z",
        end="2025-03-03T06:00:00Z",
    )
    return world


def test_a_forced_run_killed_before_its_ledger_and_repeated_leaves_the_same_rows(
    make_world: MakeWorld, market: SyntheticMarket
) -> None:
    expected = restated(world_with_bad_rows(make_world, market))
    assert expected.command(*FORCED, "--json").code == 0
    world = restated(world_with_bad_rows(make_world, market))

    at = {"MARKETLAKE_CRASH_AT": "load.between_bronze_and_ledger"}
    killed = world.command(*FORCED, "--json", environ=at)
    assert killed.code in (-signal.SIGKILL, 1), killed.err[-2000:]
    again = world.command(*RUN, "--json")

    assert again.code == 0, again.err
    assert world.digests() == expected.digests()
    assert Lake(world.home).query("select max(revision) as n from bronze.ohlcv").to_pylist() == [{"n": 1}]
