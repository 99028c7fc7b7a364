"""Mixes of faults: whatever acts on three days, the end is the sandbox's truth, row by row, after few runs.

Each seed draws its faults, ranges and runs. While they act, nothing that a wrong checksum or a damaged zip comes with
enters; when they have stopped, one run and a forced one put everything right. Requests stay within the weight limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.pipeline import loading
from marketlake.settings import load_settings
from spark_jobs.lib.session import build_session
from tests.acceptance.mixes.draws import ENDPOINTS, DayDraw, RunDraw, draw_mix, groups_of
from tests.acceptance.mixes.truth import rows_of_archives_since, score
from tests.acceptance.mixes.worlds import MixWorld, load_in_this_session, mix_world, weight_by_minute

pytestmark = [pytest.mark.spark, pytest.mark.seeded]

SEEDS = range(1, 301)
# The fixed sample of `make test`; `make acceptance` runs all.
SAMPLE = (10, 46)
_MOST_SKEW = timedelta(hours=2)


@pytest.fixture(scope="module")
def shared_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Spark session for every mix of this process, in which the load job finds itself."""
    home = tmp_path_factory.mktemp("spark-home")
    spark = build_session("mixes", load_settings(environ={"MARKETLAKE_HOME": str(home)}))
    spark.sparkContext.setLogLevel("OFF")  # what is refused on purpose would print a hundred lines each
    yield
    spark.stop()


@pytest.mark.parametrize("seed", [pytest.param(s, marks=[pytest.mark.sample] if s in SAMPLE else []) for s in SEEDS])
def test_when_the_faults_have_stopped_the_lake_is_the_truth(
    seed: int,
    shared_session: None,
    postgres_server: PostgresAddress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: pytest.RecordProperty,
) -> None:
    monkeypatch.setattr(loading, "run_spark_job", load_in_this_session)
    mix = draw_mix(seed)
    with mix_world(mix, postgres_server, tmp_path / "home") as world:
        for day in mix.days:
            live_through(world, day)
        recover(world)
        found = score(world)
        for name in ("rows", "lost", "doubled", "invented"):
            record_property(name, getattr(found, name))
        record_property("runs", len(world.ended))
        record_property("requests", len(world.sandbox.requests()))

        assert found.is_clean, f"{found}\n{mix}\n{world.ended}"
        assert set(world.ended[-len(groups_of(mix.datasets)) :]) == {"succeeded"}, f"{mix}\n{world.ended}"
        # Whatever an exchange sends is refused or loaded; a load that raises is a fault of ours.
        assert world.world.rows("select dataset, error from ops.manifests where state in ('failed', 'damaged')") == []
        assert_weight_was_kept(world)


def live_through(world: MixWorld, day: DayDraw) -> None:
    """Do the runs of a day while its faults act, and see that no archive loads that cannot be trusted."""
    world.go_to(day.clock)
    for fault in (*day.faults, *world.mix.lasting):
        world.switch_on(fault)
    for run in day.runs:
        world.run(run)
    for dataset in world.mix.datasets:
        is_spoiled = any(
            fault.spoils_every_archive and fault.parameters["endpoint"] == ENDPOINTS[dataset] for fault in day.faults
        )
        if is_spoiled:
            assert rows_of_archives_since(world, dataset, day.clock - _MOST_SKEW) == 0, (world.mix, world.ended)
    world.sandbox.faults.clear()


def recover(world: MixWorld) -> None:
    """Go on to the next days without faults: one run for what is open, and a forced one."""
    mix = world.mix
    for fault in mix.lasting:
        world.switch_on(fault)
    for clock, mode in zip(mix.after, ("incremental", "force"), strict=True):
        world.go_to(clock)
        for group in groups_of(mix.datasets):
            world.run(RunDraw(group, mix.window, mode))


def assert_weight_was_kept(world: MixWorld) -> None:
    """See that no minute of the exchange took more than its limit, and that nothing was refused for it."""
    limits = world.sandbox.meter.limits
    over = {key: spent for key, spent in weight_by_minute(world.sandbox).items() if spent > limits[key[0]]}
    assert over == {}
    refused = [one for one in world.sandbox.requests() if one.status in (418, 429) and not one.faults]
    assert refused == []
