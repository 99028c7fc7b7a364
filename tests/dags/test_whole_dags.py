"""Whole DAGs, run task by task in this process against a library that can be told to fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.dags.conftest import Library, instant

DAILY_STEPS = [
    "open_run", "plan_fetches", "ingest", "ingest", "load_bronze", "validate_data_quality", "publish_changes",
    "dbt_staging", "dbt_marts", "dbt_test", "merge_gold", "optimize_delta_tables", "refresh_grafana_dashboards",
    "mirror_ledger", "check_run",
]  # fmt: skip


@pytest.fixture(autouse=True)
def database(airflow_database: None) -> None:
    """Airflow's tables."""


def _run(dag: Any, *, hours: int, **conf: Any) -> tuple[str, dict[str, str]]:
    """Run a DAG once; return the run's state and each task's. Each call takes another logical date."""
    logical_date = instant(1) + timedelta(hours=hours)
    with pytest.MonkeyPatch.context() as patch:
        # Airflow's dag.test() looks a deadline up by an id that only the scheduler gives it.
        patch.setattr(dag, "deadline", None)
        run = dag.test(logical_date=logical_date, run_conf=conf or None)
    return str(run.state), {instance.task_id: str(instance.state) for instance in run.get_task_instances()}


def test_the_daily_run_calls_every_step_once_in_its_order(dags: dict[str, Any], library: Library) -> None:
    state, tasks = _run(dags["daily_market_data_pipeline"], hours=1)

    assert state == "success"
    assert sorted(library.steps, key=DAILY_STEPS.index) == DAILY_STEPS
    assert tasks["refresh_grafana_dashboards"] == "skipped"
    opened = library.calls[0]
    window = [opened[opened.index(name) + 1] for name in ("--start", "--end")]
    assert window == ["2024-12-31T00:00:00Z", "2025-01-01T00:00:00Z"]


def test_an_exchange_that_fails_leaves_the_others_their_way_to_gold(dags: dict[str, Any], library: Library) -> None:
    library.fail("ingest ohlcv", "binance does not answer")

    state, tasks = _run(dags["daily_market_data_pipeline"], hours=2)

    assert state == "failed"
    assert tasks["merge_gold"] == "success"
    assert {name for name, task in tasks.items() if task == "failed"} == {"ingest_ohlcv", "check_run"}


def test_a_run_without_a_plan_loads_nothing_and_ends_red(dags: dict[str, Any], library: Library) -> None:
    library.fail("open_run", "symbol must be one that is listed", code=2)

    state, tasks = _run(dags["daily_market_data_pipeline"], hours=3)

    assert state == "failed"
    assert library.steps == ["open_run"]
    assert (tasks["load_bronze"], tasks["publish_changes"]) == ("failed", "upstream_failed")


def test_a_failed_test_stops_the_merge_and_the_run_is_red(dags: dict[str, Any], library: Library) -> None:
    library.fail("dbt_test", "unique_market_data failed")

    state, tasks = _run(dags["daily_market_data_pipeline"], hours=4)

    assert (state, tasks["merge_gold"]) == ("failed", "upstream_failed")
    assert "merge_gold" not in library.steps


def test_a_failed_compaction_only_warns(dags: dict[str, Any], library: Library) -> None:
    library.fail("optimize_delta_tables", "the disk is full")

    state, tasks = _run(dags["daily_market_data_pipeline"], hours=5)

    assert (state, tasks["optimize_delta_tables"]) == ("success", "failed")


@pytest.mark.parametrize(("dag_id", "hours"), [("bronze_ohlcv", 6), ("bronze_funding_rates", 7)])
def test_an_hourly_run_fetches_its_dataset_and_publishes(
    dags: dict[str, Any], library: Library, dag_id: str, hours: int
) -> None:
    state, _ = _run(dags[dag_id], hours=hours)

    assert state == "success"
    assert library.steps.count("ingest") == 1
    assert library.steps[-3:] == ["publish_changes", "mirror_ledger", "check_run"]


def test_a_backfill_fetches_each_day_and_sums_up(dags: dict[str, Any], library: Library) -> None:
    state, tasks = _run(dags["backfill_market_data"], hours=8, start="2025-01-01", end="2025-01-04")

    assert (state, tasks["summarize"]) == ("success", "success")
    assert library.steps.count("open_run") == 1 + 3
    assert library.steps.count("ingest") == 3 * 2


def test_a_dry_backfill_touches_nothing_after_its_plan(dags: dict[str, Any], library: Library) -> None:
    state, tasks = _run(dags["backfill_market_data"], hours=9, start="2025-01-01", end="2025-01-04", dry_run=True)

    assert state == "success"
    assert library.steps == ["open_run", "plan_fetches"]
    assert tasks["load_bronze"] == "skipped"
