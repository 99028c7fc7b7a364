"""Killed at any instant, alone or with all that it started, and repeated, a run leaves what an undisturbed one does."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.conftest import MakeWorld
from tests.acceptance.kills import RUN, Cut, killed_at, repeat_until_well, seconds_of_command, world_with_bad_rows

pytestmark = [pytest.mark.spark, pytest.mark.seeded]

SEEDS = range(1, 101)


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nothing disturbs leaves, and how long it takes on this machine."""

    digests: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(make_world: MakeWorld) -> Undisturbed:
    """The mark that killed runs are held against."""
    world = world_with_bad_rows(make_world)
    seconds = seconds_of_command(world, RUN)
    return Undisturbed(world.digests(), seconds)


def cut_of(seed: int) -> Cut:
    """Return where a seed cuts: every instant is as likely, and half of the kills leave the children alive."""
    rng = random.Random(f"kill {seed}")
    return Cut(rng.random(), whole_tree=rng.random() < 0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_killed_at_a_random_instant_and_repeated_leaves_the_same_rows(
    make_world: MakeWorld, undisturbed: Undisturbed, seed: int, record_property: pytest.RecordProperty
) -> None:
    cut = cut_of(seed)
    record_property("point", "random instant, " + ("all processes" if cut.whole_tree else "main process"))
    # A run that was quicker than the undisturbed one may end before its instant: then an earlier one is taken.
    for earlier in (1.0, 0.8, 0.6):
        world = world_with_bad_rows(make_world)
        with killed_at(world, RUN, cut, undisturbed.seconds * earlier) as was_running:
            if was_running:
                record_property("runs", 1 + repeat_until_well(world, RUN))
                break
    record_property("was_running", was_running)
    assert was_running

    assert world.digests() == undisturbed.digests
