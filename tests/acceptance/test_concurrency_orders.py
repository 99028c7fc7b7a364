"""Whatever comes late or out of turn: the right row is current in every layer, and nothing is missing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from marketlake.pipeline.building import BUILD_STEPS
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.crowds import BY_REQUEST, assert_same, dead_letters, layers_of
from tests.acceptance.kills import killed_at_point
from tests.world import World

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1800)]

CLOCK = "2025-03-05T06:00:00Z"
MARKET = SyntheticMarket(11)
SYMBOL = "BTC/USDT"
TIMEFRAMES = ("--timeframe", "15m", "--timeframe", "1h")
# A row that came to be by another way has another number and another request; what it says must be the same.
BY_WAY = BY_REQUEST | {"revision"}
REFUSE_ALL = {"MARKETLAKE__QUALITY__REFUSE_SHARE": "0.0001"}


def run_of(start: str, end: str, *more: str, timeframes: Sequence[str] = TIMEFRAMES) -> list[str]:
    market = ("--dataset", "ohlcv", "--exchange", "binance", "--symbol", SYMBOL)
    return ["run", *market, *timeframes, "--start", start, "--end", end, *more]


def current_of(world: World) -> dict[str, Any]:
    """Return what is current in Postgres, layer by layer, and what the lake's readers see, beside the dead letters."""
    layers = layers_of(world, without=BY_WAY)
    columns = "symbol, timeframe, open_time, open, high, low, close, volume, trade_count"
    views = " union all ".join(f"select {columns} from raw_market_data_{name}" for name in ("15m", "1h"))
    seen = world.succeed("sql", f"select md5(string_agg(r::varchar, ';' order by r)) as digest, count(*) as n from"
                                f" (select row({columns}) as r from ({views}))")  # fmt: skip
    return {**layers, "lake": seen, "dead letters": dead_letters(world)}


def restate(world: World, start: str, end: str) -> None:
    world.sandbox.faults.add("restated_candle", symbol="BTCUSDT", timeframe="1h", start=start, end=end)


def scheduled(world: World, run_id: str, start: str, end: str, *more: str) -> None:
    """Run a window step by step as a DAG does, up to its publication; what others were refused is not its matter."""
    asked = run_of(start, end, *more)[1:]
    world.succeed("step", "open_run", "--run", run_id, "--kind", "bronze_ohlcv", *asked)
    steps: list[list[str]] = [["plan_fetches"], ["ingest", "--exchange", "binance", "--dataset", "ohlcv"]]
    for step in [*steps, ["load_bronze"], ["publish_changes"]]:
        world.succeed("step", step[0], "--run", run_id, *step[1:])


def test_a_stale_retry_after_a_newer_load_changes_nothing_that_is_current(make_world: MakeWorld) -> None:
    window = ("2025-03-03", "2025-03-05")
    hour = ("2025-03-04T05:00:00Z", "2025-03-04T06:00:00Z")
    bad = {"symbol": "BTCUSDT", "timeframe": "15m", "start": "2025-03-03T10:00:00Z", "end": "2025-03-03T10:30:00Z"}
    expected, world = (make_world(MARKET, CLOCK) for _ in range(2))
    for one in (expected, world):
        one.sandbox.faults.add("unreadable_number", **bad)
    restate(expected, *hour)
    expected.succeed(*run_of(*window, "--build"))

    refused = world.command(*run_of(*window, "--json"), environ=REFUSE_ALL)
    assert refused.code == 1
    assert "was refused" in refused.err
    stale = json.loads(refused.out)["run_id"]
    restate(world, *hour)
    scheduled(world, "newer", *window)
    scheduled(world, "forced", *window, "--mode", "force")
    world.succeed("step", "load_bronze", "--run", stale)
    world.succeed("step", "publish_changes", "--run", stale)
    world.succeed("step", "build")

    kinds = world.rows("select split_part(kind, ':', 1), run_id = %s from ops.loads where step = 'loaded'"
                       " order by recorded_at desc limit 1", stale)  # fmt: skip
    assert kinds == [("retry", True)]
    assert_same(current_of(world), current_of(expected))


def test_a_correction_two_years_back_is_current_in_every_layer(make_world: MakeWorld) -> None:
    whole, day = ("2023-03-01", "2025-03-04"), ("2023-03-05", "2023-03-06")
    hour = ("2023-03-05T05:00:00Z", "2023-03-05T06:00:00Z")
    hourly = ("--timeframe", "1h")
    expected, world = (make_world(MARKET, CLOCK) for _ in range(2))
    restate(expected, *hour)
    expected.succeed(*run_of(*whole, "--build", timeframes=hourly))

    world.succeed(*run_of(*whole, "--build", timeframes=hourly))
    before = world.rows("select close from silver.market_data where open_time = %s", hour[0])
    restate(world, *hour)
    world.succeed(*run_of(*day, "--mode", "force", "--build", timeframes=hourly))

    assert world.rows("select close from silver.market_data where open_time = %s", hour[0]) != before
    assert_same(current_of(world), current_of(expected))


def test_what_is_published_while_dbt_builds_is_not_lost(make_world: MakeWorld) -> None:
    first = ("2025-03-03", "2025-03-04")
    hours = [f"2025-03-04T{hour:02}:00:00Z" for hour in (0, 6, 12, 18)] + ["2025-03-05T00:00:00Z"]
    expected, world = (make_world(MARKET, CLOCK) for _ in range(2))
    for window in (first, (hours[0], hours[-1])):
        expected.succeed(*run_of(*window, "--build"))
    builder = world.succeed(*run_of(*first))["run_id"]

    with ThreadPoolExecutor(1) as pool:
        for step, window in zip(BUILD_STEPS, pairwise(hours), strict=True):
            killed_at_point(world, run_of(*window), "publish.before_copy")
            [(waiting,)] = world.rows("select run_id from ops.runs order by created_at desc limit 1")
            building = pool.submit(world.succeed, "step", step, "--run", builder)
            wait_for_step(world, step)
            world.succeed("step", "publish_changes", "--run", waiting)
            building.result()
    world.succeed("step", "build")

    within = (
        "select count(*) from ops.publications cross join ops.builds where builds.run_id = %s"
        " and published_at between opened_at and closed_at and publication_id > pinned_publication_id"
    )
    assert world.rows(within, builder)[0][0] >= 2 * (len(BUILD_STEPS) - 1)
    assert_same(current_of(world), current_of(expected))


def wait_for_step(world: World, step: str) -> None:
    """Wait until the build says that it does this step; the merge may be over before anybody looks."""
    deadline = time.monotonic() + 120
    while not world.rows("select 1 from ops.builds where step = %s or state = 'merged'", step):
        assert time.monotonic() < deadline, f"{step} did not begin"
        time.sleep(0.05)
