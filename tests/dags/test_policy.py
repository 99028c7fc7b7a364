"""What every DAG must be: its tags, owner, timetable, retries, limits, runbook; and the daily one's order of tasks."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import CronDataIntervalTimetable
from airflow.task.priority_strategy import validate_and_load_priority_weight_strategy

from marketlake.settings import load_settings
from marketlake_airflow import defaults, pools
from tests.dags.conftest import dag_files

DAG_IDS = [path.stem for path in dag_files()]
SCHEDULES = {
    "daily_market_data_pipeline": "0 1 * * *",
    "bronze_ohlcv": "0 * * * *",
    "bronze_funding_rates": "0 * * * *",
    "bronze_trades": "0 * * * *",
}
WARN_ONLY = ("optimize_delta_tables", "refresh_grafana_dashboards")


def test_each_file_holds_the_dag_of_its_name(dags: dict[str, Any]) -> None:
    assert sorted(dags) == DAG_IDS


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_has_owner_runbook_and_tags_of_the_closed_list(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]

    assert set(dag.tags) <= set(defaults.TAGS)
    assert {tag.split(":")[0] for tag in dag.tags} == {"layer", "dataset", "tier"}
    assert all(task.owner == "marketlake" for task in dag.tasks)
    for heading in ("**Re-running:**", "**Rejected rows:**", "**Late"):
        assert heading in dag.doc_md


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_is_scheduled_by_data_intervals_in_utc_and_never_catches_up(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]

    assert dag.catchup is False
    assert dag.max_active_runs == 1
    if dag_id in SCHEDULES:
        assert isinstance(dag.timetable, CronDataIntervalTimetable)
        assert dag.timetable.expression == SCHEDULES[dag_id]
        assert str(dag.timetable.timezone) in ("UTC", "Timezone('UTC')")
    else:
        assert dag.schedule is None


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_task_waits_five_ten_and_twenty_minutes_and_ends_at_the_job_limit(dags: dict[str, Any], dag_id: str) -> None:
    for task in dags[dag_id].tasks:
        assert task.retries == (0 if task.task_id in WARN_ONLY else 3)
        assert task.retry_delay == timedelta(minutes=5)
        assert task.retry_exponential_backoff == 2
        assert task.max_retry_delay == timedelta(minutes=20)
        assert task.execution_timeout == timedelta(minutes=load_settings().orchestration.job_timeout_minutes)


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_task_runs_in_a_pool_that_is_made_from_the_settings(dags: dict[str, Any], dag_id: str) -> None:
    slots = pools.pool_slots(load_settings())

    assert {task.pool for task in dags[dag_id].tasks} <= set(slots)
    assert dags[dag_id].task_dict["load_bronze"].pool == pools.BRONZE_WRITER
    assert slots[pools.BRONZE_WRITER] == 1
    assert slots[pools.JOBS] == load_settings().orchestration.max_concurrent_jobs


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_check_run_is_the_only_leaf_and_sees_every_ending(dags: dict[str, Any], dag_id: str) -> None:
    leaves = [task.task_id for task in dags[dag_id].tasks if not task.downstream_task_ids]

    assert leaves == ["check_run"]
    assert dags[dag_id].task_dict["check_run"].trigger_rule == "all_done"
    assert dags[dag_id].task_dict["load_bronze"].trigger_rule == "all_done"


def test_the_daily_run_has_the_tasks_of_the_specification_in_its_order(dags: dict[str, Any]) -> None:
    tasks = dags["daily_market_data_pipeline"].task_dict
    order = [
        {"plan_fetches"}, {"ingest_ohlcv", "ingest_funding_rates", "ingest_trades"}, {"load_bronze"},
        {"validate_data_quality"},
        {"publish_changes"}, {"dbt_staging"}, {"dbt_marts"}, {"dbt_test"}, {"merge_gold"}, set(WARN_ONLY),
        {"check_run"},
    ]  # fmt: skip

    for stage, following in pairwise(order):
        for name in stage:
            assert tasks[name].downstream_task_ids == following
    assert set(tasks) == set().union(*order)


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_task_nearer_the_end_of_its_run_gets_a_free_slot_first(dags: dict[str, Any], dag_id: str) -> None:
    tasks = dags[dag_id].task_dict
    weights = {name: _weight(task) for name, task in tasks.items()}

    for name, task in tasks.items():
        assert all(weights[following] > weights[name] for following in task.downstream_task_ids)


def test_the_daily_run_must_be_done_two_hours_after_it_was_queued(dags: dict[str, Any]) -> None:
    [deadline] = dags["daily_market_data_pipeline"].deadline

    assert deadline.interval == timedelta(hours=2)
    assert deadline.reference.reference_name == "RunQueued"


def test_all_dags_start_paused_where_the_scheduler_is_switched_off() -> None:
    off = load_settings(environ={"MARKETLAKE__ORCHESTRATION__SCHEDULER_ENABLED": "false"})

    assert defaults.dag_defaults(off)["is_paused_upon_creation"] is True
    assert defaults.dag_defaults(load_settings(environ={}))["is_paused_upon_creation"] is False


def _weight(task: Any) -> int:
    return validate_and_load_priority_weight_strategy(task.weight_rule).get_weight(SimpleNamespace(task=task))  # type: ignore[arg-type]
