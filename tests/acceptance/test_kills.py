"""Killed at a named point and run again, every layer equals that of an undisturbed run."""

from __future__ import annotations

from typing import Any

import pytest

from marketlake.lake import Lake
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.kills import EARLIER, RUN, killed_at_point, repeat_until_well, run_of, world_with_bad_rows
from tests.world import World

pytestmark = [pytest.mark.spark]

CRASH_POINTS = (
    "fetch.page_landed",  # during fetch
    "fetch.page_landed:3",
    "fetch.task_landed",  # after landing
    "fetch.before_seal",
    "fetch.between_seal_and_ledger",
    "load.in_audit",
    "load.after_audit",
    "load.between_dlq_and_bronze",
    "load.between_dlq_and_bronze:2",  # the other dataset's
    "load.between_bronze_and_ledger",
    "load.between_bronze_and_ledger:2",
    "ledger.after_loaded",  # between a load's entry and the ledger
    "publish.before_copy",  # between ledger and publish
    "publish.in_copy",
    "publish.in_copy:2",
    "build.before_dbt",  # between publish and dbt
    "build.in_dbt",
    "build.in_merge",
)
COMPACTION = "compaction.before_check"
# The fixed sample of `make test`, candles alone and without dbt; `make acceptance` runs all.
SAMPLED = run_of("2025-03-04", "2025-03-05T00:00:00Z", what=("--dataset", "ohlcv", "--timeframe", "15m"))
SAMPLE = "load.between_bronze_and_ledger"
FORCED = [*RUN, "--mode", "force"]
Digests = dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(make_world: MakeWorld) -> Digests:
    """The digests of a run that nothing disturbed."""
    world = world_with_bad_rows(make_world)
    world.succeed(*RUN)
    return world.digests()


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_run_killed_and_repeated_leaves_the_same_rows(
    make_world: MakeWorld, undisturbed: Digests, point: str, record_property: pytest.RecordProperty
) -> None:
    record_property("point", point.partition(":")[0])
    world = world_with_bad_rows(make_world)

    killed_at_point(world, RUN, point)

    assert repeat_until_well(world, RUN) == 1
    assert world.digests() == undisturbed


@pytest.mark.sample
def test_a_small_run_killed_and_repeated_leaves_the_same_rows(make_world: MakeWorld) -> None:
    expected, world = (world_with_bad_rows(make_world) for _ in range(2))
    expected.succeed(*SAMPLED)

    killed_at_point(world, SAMPLED, SAMPLE)
    world.succeed(*SAMPLED)

    assert world.digests() == expected.digests()


def test_a_run_killed_in_compaction_and_repeated_leaves_the_same_rows(
    make_world: MakeWorld, record_property: pytest.RecordProperty
) -> None:
    record_property("point", COMPACTION)
    expected, world = (world_with_bad_rows(make_world) for _ in range(2))
    for one in (expected, world):
        one.succeed(*EARLIER)
    expected.succeed(*RUN)

    killed_at_point(world, RUN, COMPACTION)

    assert repeat_until_well(world, RUN) == 1
    assert world.digests() == expected.digests()


def restated(world: World) -> World:
    """The world after its run, with a candle of the settled window that the exchange has restated since."""
    world.succeed(*RUN)
    world.sandbox.faults.add(
        "restated_candle",
        symbol="BLZETH",
        timeframe="1h",
        start="2025-03-03T05:00:00Z",
        end="2025-03-03T06:00:00Z",
    )
    return world


def test_a_forced_run_killed_before_its_ledger_and_repeated_leaves_the_same_rows(make_world: MakeWorld) -> None:
    expected = restated(world_with_bad_rows(make_world))
    expected.succeed(*FORCED)
    world = restated(world_with_bad_rows(make_world))

    killed_at_point(world, FORCED, "load.between_bronze_and_ledger")
    world.succeed(*RUN)

    assert world.digests() == expected.digests()
    assert Lake(world.home).query("select max(revision) as n from bronze.ohlcv").to_pylist() == [{"n": 1}]
