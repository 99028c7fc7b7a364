"""Tests for runs, their tasks, the lake's market and per-table state."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from marketlake.errors import DataError, OtherMarketError, UsageError
from marketlake.ledger import (
    StepTime,
    claim_market,
    create_run,
    finish_run,
    incarnation,
    lake_market,
    newest_runs,
    next_known_at,
    raise_incarnation,
    record_step,
    run_named,
    save_tasks,
    steps_of,
    tasks_of,
)
from marketlake.work import FetchTask
from tests.integration.ledger.rows import NOW, SPOT, make_run, span

WINDOW = span("2025-01-01", "2025-01-02")


def test_a_run_comes_back_as_it_was_stored_and_keeps_its_first_now(connection: psycopg.Connection) -> None:
    run = make_run(connection, window=WINDOW, request={"datasets": ["ohlcv"]}, clock_offset=timedelta(seconds=-2.5))

    again = create_run(connection, replace(run, now=NOW + timedelta(hours=1)))

    assert again == run == run_named(connection, "cli__1")
    assert run.clock.offset == timedelta(seconds=-2.5)


@pytest.mark.parametrize("run_id", ["", "a b", "x" * 201, "../up", "a'b"])
def test_a_malformed_run_id_is_refused(connection: psycopg.Connection, run_id: str) -> None:
    with pytest.raises(UsageError, match="a run id has 1 to 200 letters"):
        make_run(connection, run_id)


def test_a_known_run_with_another_window_is_refused(connection: psycopg.Connection) -> None:
    make_run(connection, window=WINDOW)

    with pytest.raises(DataError, match=r"run cli__1 is known with window 2025-01-01.*use another run id"):
        make_run(connection, window=span("2025-01-01", "2025-01-03"))


def test_a_step_of_an_unknown_run_is_the_callers_mistake(connection: psycopg.Connection) -> None:
    with pytest.raises(UsageError, match="no run is called 'nobody'"):
        run_named(connection, "nobody")


def test_a_run_ends_and_a_cleared_one_ends_again(connection: psycopg.Connection) -> None:
    make_run(connection)
    for state in ("failed", "running", "succeeded"):
        finish_run(connection, "cli__1", state)
        assert newest_runs(connection)[0].state == state
    with pytest.raises(UsageError, match="state must be one of running, succeeded, failed"):
        finish_run(connection, "cli__1", "done")


def test_the_last_pass_of_a_step_counts(connection: psycopg.Connection) -> None:
    make_run(connection)
    record_step(connection, "cli__1", StepTime("ingest", 9.0, "binance", "ohlcv"))
    record_step(connection, "cli__1", StepTime("ingest", 2.0, "binance", "ohlcv", {"tasks": 3}))

    assert steps_of(connection, "cli__1") == [StepTime("ingest", 2.0, "binance", "ohlcv", {"tasks": 3})]


def task(task_id: str, dataset: str = "ohlcv") -> FetchTask:
    return FetchTask(task_id, "cli__1", "binance", dataset, SPOT, "1h", "rest", WINDOW)


def test_tasks_keep_their_order_and_a_new_plan_replaces_them(connection: psycopg.Connection) -> None:
    make_run(connection)
    save_tasks(connection, "cli__1", [task("b"), task("a"), task("c", "funding_rates")])

    assert tasks_of(connection, "cli__1", exchange="binance", dataset="ohlcv") == [task("b"), task("a")]
    assert tasks_of(connection, "cli__1", exchange="kraken") == []
    save_tasks(connection, "cli__1", [task("d")])
    assert tasks_of(connection, "cli__1") == [task("d")]


def test_a_lake_belongs_to_the_market_that_came_first(connection: psycopg.Connection) -> None:
    assert lake_market(connection) is None
    claim_market(connection, "synthetic:7")
    claim_market(connection, "synthetic:7")

    with pytest.raises(OtherMarketError, match=r"'synthetic:7', but the exchange that answers now is 'live'"):
        claim_market(connection, "live")
    assert lake_market(connection) == "synthetic:7"


def test_known_at_rises_strictly_even_when_the_clock_stands_or_goes_back(connection: psycopg.Connection) -> None:
    clock = [NOW, NOW, NOW - timedelta(days=9), NOW + timedelta(seconds=1)]

    given = [next_known_at(connection, "bronze.ohlcv", now) for now in clock]

    assert given == sorted(set(given))
    assert given[-1] == NOW + timedelta(seconds=1)
    assert next_known_at(connection, "bronze.trades", NOW) == NOW


def test_a_restore_raises_the_incarnation_of_its_table_alone(connection: psycopg.Connection) -> None:
    assert incarnation(connection, "bronze.ohlcv") == 1
    assert raise_incarnation(connection, "bronze.ohlcv") == 2
    assert (incarnation(connection, "bronze.ohlcv"), incarnation(connection, "bronze.trades")) == (2, 1)
