"""After a rebuild everything is published again: under new ids, and without touching a row that is right."""

from __future__ import annotations

from typing import Any

import pytest

from marketlake import ledger
from marketlake.publish.step import publish_changes
from marketlake.recovery.rebuild import rebuild
from tests.integration.recovery.story import START, Story

ROWS = "select xmin::text, bronze.ohlcv.* from bronze.ohlcv order by symbol, timeframe, open_time"
DAYS = "select dataset, symbol, day, expected, present, rejected from bronze.market_day_quality order by 1, 2, 3"
RANGES = (
    "select symbol, timeframe, range_start, range_end from ops.publications where publication_id > %s order by 1, 3"
)


@pytest.fixture
def published(story: Story) -> Story:
    """The story in Postgres."""
    story.tell()
    publish(story, "first")
    return story


def publish(story: Story, run_id: str) -> dict[str, Any]:
    ledger.create_run(story.connection, ledger.Run(run_id, "cli", None, "incremental", {}, START))
    done = publish_changes(story.connection, story.settings, run_id=run_id)
    ledger.finish_run(story.connection, run_id, "succeeded")
    return done


def everything(story: Story) -> list[list[tuple[Any, ...]]]:
    return [story.connection.execute(query.encode()).fetchall() for query in (ROWS, DAYS)]


def test_every_range_gets_a_new_publication_and_no_row_changes(published: Story) -> None:
    before, newest = everything(published), ledger.newest_publication(published.connection)
    ranges = published.connection.execute(RANGES, [0]).fetchall()
    rebuild(published.settings, published.connection)

    done = publish(published, "again")

    assert (done["ranges"], done["rows_written"], done["rows_deleted"]) == (len(ranges), 0, 0)
    assert everything(published) == before
    assert published.connection.execute(RANGES, [newest]).fetchall() == ranges
    assert publish(published, "third")["ranges"] == 0


def test_a_row_that_was_lost_in_postgres_comes_back(published: Story) -> None:
    published.connection.execute("delete from bronze.ohlcv where open_time < %s", [START.replace(hour=3)])
    rebuild(published.settings, published.connection)

    assert publish(published, "again")["rows_written"] == 3
