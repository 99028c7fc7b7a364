"""A table put back: what it loses is open again, waits for its load, and leaves Postgres."""

from __future__ import annotations

import pytest
from deltalake import DeltaTable

from marketlake import ledger
from marketlake.datasets import OHLCV
from marketlake.errors import UsageError
from marketlake.publish.step import publish_changes
from marketlake.recovery.rebuild import rebuild
from marketlake.recovery.restore import plan_restore, restore
from tests.integration.recovery.story import MARKET, START, Story, hours
from tests.ledgers import ledger_content


@pytest.fixture
def told(story: Story) -> Story:
    """The story, published."""
    story.tell()
    ledger.create_run(story.connection, ledger.Run("p", "cli", None, "incremental", {}, START))
    publish_changes(story.connection, story.settings, run_id="p")
    ledger.finish_run(story.connection, "p", "succeeded")
    return story


def states(story: Story) -> list[tuple[str, str]]:
    return story.connection.execute("select run_id, state from ops.manifests order by run_id").fetchall()


def test_the_loads_that_are_lost_and_those_that_agreed_with_them_wait_again(told: Story) -> None:
    version = DeltaTable(str(told.root / "bronze" / "ohlcv")).version()

    done = restore(told.settings, told.connection, OHLCV, version - 1, run_id="restore")

    assert sorted(done.lost) == ["l2", "l3"]
    assert states(told) == [("r1", "loaded"), ("r2", "waiting"), ("r3", "waiting"), ("r4", "refused")]
    windows = [tile.window for tile in ledger.coverage_of(told.connection, *MARKET)]
    assert windows == [hours(0, 10), hours(10, 12)]
    assert ledger.high_watermark(told.connection, *MARKET) == hours(0, 10).end
    assert told.connection.execute("select count(*) from ops.agreements").fetchone() == (0,)
    assert told.connection.execute("select distinct load_id from bronze.ohlcv").fetchall() == [("l1",)]
    assert ledger.incarnation(told.connection, "bronze.ohlcv") == 2
    assert DeltaTable(str(told.root / "bronze" / "ohlcv")).to_pyarrow_table().num_rows == 10


def test_what_other_loads_said_about_a_lost_loads_ranges_stands(told: Story) -> None:
    before = ledger.coverage_of(told.connection, *MARKET), ledger.high_watermark(told.connection, *MARKET)
    version = DeltaTable(str(told.root / "bronze" / "ohlcv")).version()
    told.load(hours(0, 14), facts=(ledger.Fact(*MARKET, hours(0, 14), "present", "archive"),))
    assert [tile.window for tile in ledger.coverage_of(told.connection, *MARKET)] == [hours(0, 14), hours(14, 24)]

    restore(told.settings, told.connection, OHLCV, version, run_id="restore")

    assert (ledger.coverage_of(told.connection, *MARKET), ledger.high_watermark(told.connection, *MARKET)) == before


def test_one_restore_after_another_tells_what_stands_as_often_as_the_first(told: Story) -> None:
    before = ledger.coverage_of(told.connection, *MARKET), ledger.high_watermark(told.connection, *MARKET)
    version = DeltaTable(str(told.root / "bronze" / "ohlcv")).version()
    counts = list[int]()
    for name in ("first", "second", "third"):
        told.load(hours(0, 14), facts=(ledger.Fact(*MARKET, hours(0, 14), "present", "archive"),))
        restore(told.settings, told.connection, OHLCV, version, run_id=name)
        version = DeltaTable(str(told.root / "bronze" / "ohlcv")).version()
        row = told.connection.execute("select count(*) from ops.coverage_facts where run_id = %s", [name]).fetchone()
        counts.append(row[0] if row else 0)
        after = ledger.coverage_of(told.connection, *MARKET), ledger.high_watermark(told.connection, *MARKET)
        assert after == before

    assert counts == counts[:1] * 3


def test_a_rebuild_after_a_restore_says_the_same(told: Story) -> None:
    version = DeltaTable(str(told.root / "bronze" / "ohlcv")).version()
    restore(told.settings, told.connection, OHLCV, version - 1, run_id="restore")
    told.load(hours(12, 24))
    before = ledger_content(told.connection)
    told.empty()

    rebuild(told.settings, told.connection)

    assert ledger_content(told.connection) == before


def test_what_it_would_undo_is_told_without_undoing_it(told: Story) -> None:
    before = ledger_content(told.connection)
    version = DeltaTable(str(told.root / "bronze" / "ohlcv")).version()

    planned = plan_restore(told.settings, told.connection, OHLCV, version - 1)

    assert (planned.lost_rows, planned.manifests) == (12, 2)
    assert ledger_content(told.connection) == before
    with pytest.raises(UsageError, match="there is nothing to restore"):
        plan_restore(told.settings, told.connection, OHLCV, version)
    with pytest.raises(UsageError, match="has versions up to"):
        plan_restore(told.settings, told.connection, OHLCV, 99)
