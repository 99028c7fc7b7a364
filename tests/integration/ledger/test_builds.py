"""Tests for ``marketlake.ledger.builds`` (design, rule 9)."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from marketlake.errors import UsageError
from marketlake.ledger import (
    Build,
    BuildLostError,
    beat,
    beating,
    built_until,
    close_build,
    connect,
    insert_publication,
    newest_build_of,
    open_build,
    open_build_of,
)
from marketlake.settings import Settings
from tests.integration.ledger.rows import span


def publish(cursor: psycopg.Cursor[Any]) -> int:
    return insert_publication(
        cursor,
        dataset="ohlcv",
        exchange="binance",
        symbol="BTC/USDT",
        timeframe="1h",
        window=span("2025-01-01", "2025-01-02"),
        rows_written=1,
        rows_deleted=0,
        run_id="r",
    )


def opened(connection: psycopg.Connection, run_id: str, **options: float) -> Build:
    build = open_build(connection, run_id, **options)
    assert build is not None
    return build


def test_a_build_is_pinned_to_the_newest_publication_of_its_start(connection: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        first = publish(cursor)
        build = opened(connection, "a")
        publish(cursor)

    assert build.pinned_publication_id == first
    assert built_until(connection) == 0
    close_build(connection, build.build_id, "merged")
    assert built_until(connection) == first


def test_a_pin_waits_for_publications_that_are_committing_so_none_is_skipped(
    connection: psycopg.Connection, settings: Settings
) -> None:
    pins = []

    def build() -> None:
        with connect(settings) as own:
            pins.append(opened(own, "a").pinned_publication_id)

    with connection.transaction(), connection.cursor() as cursor:
        number = publish(cursor)
        thread = threading.Thread(target=build)
        thread.start()
        thread.join(1)
        assert pins == []
    thread.join(10)

    assert pins == [number]


def test_only_one_build_is_open_and_its_own_run_may_start_it_again(connection: psycopg.Connection) -> None:
    build = opened(connection, "a")
    beat(connection, build.build_id, "dbt_marts")

    assert open_build(connection, "b") is None
    again = opened(connection, "a")
    assert (again.build_id, again.step) == (build.build_id, "")
    assert open_build_of(connection, "b") is None
    assert open_build_of(connection) == again


def test_a_build_without_a_beat_is_taken_over_and_its_first_run_learns_of_it(connection: psycopg.Connection) -> None:
    lost = opened(connection, "a")
    assert open_build(connection, "b", dead_after_seconds=60) is None
    connection.execute("update ops.builds set heartbeat_at = heartbeat_at - interval '61 seconds'")

    taken = opened(connection, "b", dead_after_seconds=60)

    assert taken.build_id != lost.build_id
    with pytest.raises(BuildLostError, match="no longer open"):
        beat(connection, lost.build_id, "dbt_test")
    with pytest.raises(BuildLostError, match="cannot be closed as merged"):
        close_build(connection, lost.build_id, "merged")
    found = newest_build_of(connection, "a")
    assert found is not None
    assert found.state == "taken_over"


def test_a_merge_that_lost_its_build_does_not_commit(connection: psycopg.Connection) -> None:
    build = opened(connection, "a")
    close_build(connection, build.build_id, "failed")

    def merge() -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("create table gold.merged_too_late (one int)")
            close_build(cursor, build.build_id, "merged")

    with pytest.raises(BuildLostError):
        merge()
    assert connection.execute("select to_regclass('gold.merged_too_late')").fetchone() == (None,)


def test_a_build_beats_while_its_task_works(
    connection: psycopg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketlake.ledger.builds.BEAT_EVERY_SECONDS", 0.05)
    build = opened(connection, "a")
    beats = set()
    with beating(settings, build.build_id, "dbt_marts"):
        for _ in range(40):
            threading.Event().wait(0.02)
            now = open_build_of(connection)
            assert now is not None
            assert now.step == "dbt_marts"
            beats.add(now.heartbeat_at)

    assert len(beats) > 3


def test_a_task_whose_build_was_taken_over_while_it_worked_fails_at_its_end(
    connection: psycopg.Connection, settings: Settings
) -> None:
    build = opened(connection, "a")

    def work() -> None:
        with beating(settings, build.build_id, "dbt_marts"):
            connection.execute("update ops.builds set state = 'taken_over'")

    with pytest.raises(BuildLostError):
        work()
    with pytest.raises(UsageError, match="state must be one of merged, failed"):
        close_build(connection, build.build_id, "open")
