"""The ledger rebuilt from manifests, entries and bronze: the same as before, whatever of them is damaged."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from marketlake import ledger
from marketlake.errors import UnavailableError
from marketlake.ledger import Fact, Run
from marketlake.recovery.rebuild import rebuild
from marketlake.recovery.reset import plan_resets, reset_markets
from tests.integration.recovery.story import MARKET, START, Story, hours
from tests.ledgers import ledger_content


def rebuilt(story: Story, **options: bool) -> dict[str, Any]:
    return vars(rebuild(story.settings, story.connection, **options))


def state_of(story: Story, number: int) -> str | None:
    row = story.connection.execute("select state from ops.manifests where run_id = %s", [f"r{number}"]).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize("is_lost", [True, False])
def test_the_ledger_says_the_same_whether_postgres_was_lost_or_not(story: Story, is_lost: bool) -> None:
    story.tell()
    before = ledger_content(story.connection)
    if is_lost:
        story.empty()

    done = rebuilt(story)

    assert ledger_content(story.connection) == before
    assert (done["manifests"], done["loads"], done["waiting"], done["damaged"]) == (4, 3, 0, ())
    assert rebuilt(story) == done
    assert ledger_content(story.connection) == before
    unpublished = ledger.changes_unpublished(story.connection)
    assert [change.is_told_again for change in unpublished] == [True] * 3


def test_the_next_known_at_is_later_than_any_that_was_given_out(story: Story) -> None:
    story.tell()
    story.empty()
    rebuilt(story)

    newest = story.connection.execute("select max(known_at) from ops.loads").fetchone()
    assert newest is not None
    assert ledger.next_known_at(story.connection, "bronze.ohlcv", START) > newest[0]


def test_planned_facts_and_resets_are_told_again_in_their_order(story: Story) -> None:
    story.tell()
    outside = [Fact(*MARKET, window=hours(-24, 0), state="not_listed", cause="before_listing")]
    with story.connection.transaction(), story.connection.cursor() as cursor:
        ledger.apply_facts(cursor, outside, run_id="plan")
        ledger.keep_facts(cursor, story.area, "planned", outside, run_id="plan")
    resets = plan_resets(story.connection, [MARKET], hours(12, 18))
    reset_markets(story.connection, story.area, resets, run_id="reset")
    story.load(hours(12, 14))
    before = ledger_content(story.connection)
    story.empty()

    rebuilt(story)

    assert ledger_content(story.connection) == before
    assert ledger.high_watermark(story.connection, *MARKET) == hours(0, 10).end


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_manifest_whose_entry_is_damaged_waits_for_its_load(story: Story, damage: str) -> None:
    story.tell()
    [entry] = story.area.folder.glob("*/*/ledger/l2.loaded.json")
    text = entry.read_text()
    if damage == "gone":
        entry.unlink()
    else:
        entry.write_text(text.replace('"typed_rows":12', '"typed_rows":13') if damage == "flipped" else text[:200])
    story.empty()

    done = rebuilt(story)

    assert [state_of(story, number) for number in (1, 2, 3, 4)] == ["loaded", "waiting", "loaded", "refused"]
    assert done["waiting"] == 1
    assert len(done["damaged"]) == (0 if damage == "gone" else 1)


def test_a_manifest_that_cannot_be_read_keeps_what_its_entries_say(story: Story) -> None:
    story.tell()
    coverage = ledger_content(story.connection)["coverage"]
    [path] = story.area.folder.glob("*/*/manifests/r2.json")
    path.write_text("{")
    story.empty()

    done = rebuilt(story)

    assert [state_of(story, number) for number in (1, 2)] == ["loaded", "loaded"]
    assert "r2.json is damaged" in str(done["damaged"])
    assert ledger_content(story.connection)["coverage"] == coverage


def test_loads_whose_rows_bronze_lacks_are_undone_and_wait_under_a_new_incarnation(story: Story) -> None:
    story.tell()

    shutil.rmtree(story.root / "bronze" / "ohlcv")
    story.empty()

    done = rebuilt(story)

    assert done["lost_loads"] == 3
    assert [state_of(story, number) for number in (1, 2, 3, 4)] == ["waiting"] * 3 + ["refused"]
    assert ledger.coverage_of(story.connection, *MARKET) == []
    assert ledger.incarnation(story.connection, "bronze.ohlcv") == 2
    before = ledger_content(story.connection)
    again = rebuilt(story)
    assert (again["lost_loads"], ledger_content(story.connection)) == (0, before)


def test_a_running_run_is_never_rebuilt_under(story: Story) -> None:
    story.tell()
    ledger.create_run(story.connection, Run("alive", "cli", None, "incremental", {}, START.replace(year=2999)))
    before = ledger_content(story.connection)

    with pytest.raises(UnavailableError, match="1 run\\(s\\) are marked as running: alive"):
        rebuild(story.settings, story.connection)

    assert ledger_content(story.connection) == before
    rebuilt(story, ends_runs=True)
    assert ledger.run_named(story.connection, "alive").state == "failed"


def test_a_load_that_holds_its_table_is_not_rebuilt_under(story: Story) -> None:
    story.tell()
    with (
        ledger.table_lease(story.settings, "bronze.trades"),
        pytest.raises(UnavailableError, match=r"held the lease of bronze\.trades"),
    ):
        rebuild(story.settings, story.connection)
