"""Killed while its rows lie in files of the bulk path, and run again, a load leaves what an undisturbed one leaves."""

from __future__ import annotations

from typing import Any

import pytest
from deltalake import DeltaTable

from marketlake.lake.files import table_path
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.kills import CLOCK, killed_at_point
from tests.world import World

pytestmark = [pytest.mark.spark]

# Archives of six months of minutes: more than the driver reads.
WANTED = ("--dataset", "ohlcv", "--timeframe", "1m", "--exchange", "binance", "--symbol", "SOL/USDT")
RUN = ["run", *WANTED, "--start", "2024-07-01", "--end", "2025-01-01"]


def new_world(make_world: MakeWorld) -> World:
    return make_world(SyntheticMarket(7), CLOCK)


def ways(world: World) -> list[str]:
    return [way for (way,) in world.rows("select details->>'path' from ops.loads where step = 'loaded'")]


@pytest.fixture(scope="module")
def undisturbed(make_world: MakeWorld) -> dict[str, Any]:
    """The digests of a run that nothing disturbed."""
    world = new_world(make_world)
    world.succeed(*RUN)
    assert ways(world) == ["bulk"]
    return world.digests()


@pytest.mark.parametrize(
    ("point", "is_committed", "way"),
    [("load.in_audit", False, "bulk"), ("load.between_bronze_and_ledger", True, "plain")],
)
def test_a_bulk_load_killed_and_repeated_leaves_the_same_rows(
    make_world: MakeWorld, undisturbed: dict[str, Any], point: str, is_committed: bool, way: str
) -> None:
    world = new_world(make_world)

    killed_at_point(world, RUN, point)
    folder = table_path(str(world.root), "bronze.ohlcv")
    named = set(DeltaTable(folder).file_uris())
    assert bool(named) == is_committed
    world.succeed(*RUN)

    assert ways(world) == [way]
    assert world.digests() == undisturbed
    # What the killed attempt wrote beside the table is there for vacuum alone.
    found = DeltaTable(folder).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=True, full=True)
    assert any(path.split("/")[-1].startswith("audited-") for path in found)
