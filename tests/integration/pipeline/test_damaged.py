"""Damaged landed files in a run's summary: found by its load, fetched again, and no longer told once loaded."""

from datetime import timedelta
from pathlib import Path

import pytest

from marketlake import ledger
from marketlake.instants import parse_window
from marketlake.landing import readable_manifests
from marketlake.ledger import LoadRecord
from marketlake.pipeline.checking import problems_of
from marketlake.pipeline.damaged import damages
from marketlake.pipeline.loading import validate_data_quality
from marketlake.planning.unfinished import find_unfinished
from marketlake.settings import load_settings
from tests.integration.pipeline.test_loading import ETH, NOW, WINDOW, Story

LATER = NOW + timedelta(hours=1)
WHY = "1 landed file(s) are damaged"


@pytest.fixture
def story(postgres):
    settings = load_settings()
    with ledger.connect(settings) as connection:
        yield Story(connection, settings)


def damaged(story: Story, run_id: str) -> str:
    manifest_id = story.manifest(run_id)
    ledger.record_failure(story.connection, manifest_id, WHY, state="damaged")
    return manifest_id


def loaded(story: Story, manifest_id: str, run_id: str) -> None:
    record = LoadRecord(f"l{run_id}", "bronze.ohlcv", "ohlcv", "binance", manifest_id, run_id)
    ledger.record_load(story.connection, record)


def told(call) -> list[tuple[str, bool, bool]]:
    return [(damage.run_id, damage.is_open, damage.is_fetched_again) for damage in damages(call)]


def test_the_run_whose_load_finds_it_ends_red_whoever_fetched_it(story):
    killed, finder = story.run("killed"), story.run("finder")
    damaged(story, "killed")

    assert told(killed) == told(finder) == [("killed", True, False)]
    [problem] = [problem for problem in problems_of(finder) if "damaged" in problem.text]
    assert problem.task == "plan_fetches"
    assert problem.text == (
        f"binance ohlcv: what the run killed landed is damaged and was not loaded: {WHY};"
        " the next run fetches its windows again"
    )
    assert validate_data_quality(finder)["refused"] == [problem.text]


def test_the_run_that_fetches_it_again_says_so_and_ends_green(story):
    damaged(story, "killed")
    again = story.run("again")
    manifest_id = story.manifest("again", LATER)
    assert told(again) == [("killed", True, True)]

    loaded(story, manifest_id, "again")

    assert told(again) == [("killed", False, True)]
    assert [problem for problem in problems_of(again) if "damaged" in problem.text] == []


def test_a_part_that_came_again_leaves_the_rest_open(story):
    damaged(story, "killed")
    again = story.run("again")
    loaded(story, story.manifest("again", LATER, markets=(ETH,)), "again")
    assert told(again) == [("killed", True, True)]


def test_other_runs_hear_nothing_of_it(story):
    elsewhere = story.run("elsewhere", window=parse_window("2025-03-01", "2025-03-02"))
    damaged(story, "killed")
    assert told(elsewhere) == []
    loaded(story, story.manifest("again", LATER), "again")
    assert told(story.run("after")) == []


def test_a_manifest_that_cannot_be_read_and_is_unknown_stops_no_plan(story, caplog):
    folder = Path(story.settings.lake_root, "landing", "binance", "ohlcv", "manifests")
    folder.mkdir(parents=True)
    (folder / "r.json").write_text("{")

    assert find_unfinished(story.connection, story.settings.lake_root, window=WINDOW).sealed == ()
    assert readable_manifests([folder / "r.json"]) == []
    assert "its windows count as never fetched" in caplog.text
