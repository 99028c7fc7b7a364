"""The tasks of a build among other runs' builds: who waits, who does the work, what is said (design, rule 9)."""

from __future__ import annotations

import threading

import pytest

from marketlake.instants import DAY, Window
from marketlake.ledger import (
    Build,
    BuildLostError,
    beat,
    close_build,
    connect,
    insert_publication,
    newest_build_of,
    open_build,
)
from marketlake.publish.dbt import dbt_staging, merge_gold, open_full_refresh
from tests.integration.publish.shelf import NOW, RUN, Shelf

OTHER = "another"


@pytest.fixture
def queue(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """A queue with one publication, no mart, and tasks that look often."""
    monkeypatch.setattr("marketlake.publish.dbt._POLL_SECONDS", 0.02)
    for schema in ("gold", "gold_build"):
        shelf.connection.execute(f"drop schema if exists {schema} cascade".encode())
        shelf.connection.execute(f"create schema {schema}".encode())
    publish(shelf)
    return shelf


def publish(shelf: Shelf) -> int:
    with shelf.connection.cursor() as cursor:
        return insert_publication(
            cursor,
            dataset="ohlcv",
            exchange="binance",
            symbol="BTC/USDT",
            timeframe="1h",
            window=Window(NOW, NOW + DAY),
            rows_written=1,
            rows_deleted=0,
            run_id=RUN,
        )


def opened(shelf: Shelf, run_id: str, **options: bool) -> Build:
    build = open_build(shelf.connection, run_id, **options)
    assert build is not None
    return build


def taken_over(shelf: Shelf) -> Build:
    """Return the build of another run that took over the one of this run."""
    opened(shelf, RUN)
    shelf.connection.execute("update ops.builds set heartbeat_at = heartbeat_at - interval '61 seconds'")
    return opened(shelf, OTHER)


def after(shelf: Shelf, seconds: float, build: Build, state: str) -> threading.Timer:
    """Close the build a little later, from a connection of its own."""

    def close() -> None:
        with connect(shelf.settings) as connection:
            close_build(connection, build.build_id, state)

    timer = threading.Timer(seconds, close)
    timer.start()
    return timer


def state_of(shelf: Shelf, run_id: str) -> str:
    build = newest_build_of(shelf.connection, run_id)
    assert build is not None
    return build.state


def test_a_task_that_holds_its_build_works_and_the_last_one_closes_it(queue: Shelf) -> None:
    opened(queue, RUN)
    assert merge_gold(queue.connection, queue.settings, run_id=RUN) == {}
    assert state_of(queue, RUN) == "merged"


def test_a_task_that_is_cleared_after_its_run_built_says_so(queue: Shelf) -> None:
    close_build(queue.connection, opened(queue, RUN).build_id, "merged")
    said = merge_gold(queue.connection, queue.settings, run_id=RUN)["note"]
    assert said.startswith("this run's build is merged already")


def test_a_task_whose_build_was_taken_over_waits_for_the_other_run(queue: Shelf) -> None:
    timer = after(queue, 0.5, taken_over(queue), "merged")
    said = merge_gold(queue.connection, queue.settings, run_id=RUN)
    timer.join()
    assert said == {"note": "another run has built these publications"}
    assert state_of(queue, RUN) == "taken_over"


def test_a_task_whose_build_failed_says_who_built_its_publications_since(queue: Shelf) -> None:
    close_build(queue.connection, opened(queue, RUN).build_id, "failed")
    close_build(queue.connection, opened(queue, OTHER).build_id, "merged")
    said = merge_gold(queue.connection, queue.settings, run_id=RUN)
    assert said == {"note": "another run has built these publications"}


def test_a_build_waits_for_another_one_that_is_alive_and_does_nothing_where_that_built_all(queue: Shelf) -> None:
    other = opened(queue, OTHER)
    beat(queue.connection, other.build_id, "dbt_test")
    timer = after(queue, 0.5, other, "merged")
    said = dbt_staging(queue.connection, queue.settings, run_id=RUN)
    timer.join()
    assert said == {"note": "another run has built these publications"}
    assert newest_build_of(queue.connection, RUN) is None
    assert dbt_staging(queue.connection, queue.settings, run_id=RUN) == {
        "note": "everything that is published is built"
    }


def test_a_task_that_fails_closes_its_build_whatever_failed(queue: Shelf) -> None:
    queue.connection.execute("create table gold_build.mart_market_daily (a int)")
    opened(queue, RUN)
    with pytest.raises(RuntimeError, match="declares no primary key"):
        merge_gold(queue.connection, queue.settings, run_id=RUN)
    assert state_of(queue, RUN) == "failed"


def test_a_mart_that_the_project_no_longer_has_is_dropped_where_it_was_built_and_stays_in_gold(queue: Shelf) -> None:
    for schema in ("gold", "gold_build"):
        queue.connection.execute(f"create table {schema}.mart_removed as select 1 as a".encode())
    queue.connection.execute("create table gold_build.mart_market_daily (a int primary key, b int)")
    opened(queue, RUN)

    merged = merge_gold(queue.connection, queue.settings, run_id=RUN)

    assert merged == {
        "mart_market_daily_rows_written": 0, "mart_market_daily_rows_deleted": 0, "no_longer_built": ["mart_removed"],
    }  # fmt: skip
    assert queue.rows("select to_regclass('gold_build.mart_removed')::text") == [(None,)]
    assert queue.rows("select a from gold.mart_removed") == [(1,)]


def test_a_task_that_lost_its_build_while_it_worked_leaves_the_others_open(queue: Shelf) -> None:
    queue.connection.execute("create table gold_build.mart_market_daily (a int primary key, b int)")
    build = opened(queue, RUN)
    with connect(queue.settings) as other, other.transaction():
        other.execute("lock table gold_build.mart_market_daily in access exclusive mode")
        error: list[BaseException] = []
        thread = threading.Thread(target=lambda: error.append(failure_of_merge(queue)))
        thread.start()
        while not queue_waits(queue):
            pass
        with connect(queue.settings) as third:
            third.execute("update ops.builds set heartbeat_at = heartbeat_at - interval '61 seconds'")
            assert open_build(third, OTHER) is not None
    thread.join(20)
    assert isinstance(error[0], BuildLostError)
    assert (state_of(queue, RUN), state_of(queue, OTHER)) == ("taken_over", "open")
    assert queue.rows("select to_regclass('gold.mart_market_daily')::text") == [(None,)]
    assert build.run_id == RUN


def failure_of_merge(shelf: Shelf) -> BaseException:
    with connect(shelf.settings) as connection:
        try:
            merge_gold(connection, shelf.settings, run_id=RUN)
        except BuildLostError as error:
            return error
    return AssertionError("the merge did not notice")


def queue_waits(shelf: Shelf) -> bool:
    rows = shelf.rows(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        " and state = 'active'"
    )
    return bool(rows)


def test_a_full_refresh_waits_for_another_build_and_stays_one_when_it_is_taken_over(queue: Shelf) -> None:
    timer = after(queue, 0.3, opened(queue, OTHER), "merged")
    open_full_refresh(queue.connection, run_id=RUN)
    timer.join()
    assert opened(queue, RUN).is_full_refresh
    queue.connection.execute("update ops.builds set heartbeat_at = heartbeat_at - interval '61 seconds'")
    assert opened(queue, OTHER).is_full_refresh
