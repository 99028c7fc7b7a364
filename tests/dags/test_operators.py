"""Tests for the operators: what they ask of the library, and what its answers make of a task."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from marketlake_airflow.assets import BRONZE_LOADED
from marketlake_airflow.check_operator import CheckRunOperator
from marketlake_airflow.ingest_operator import IngestOperator
from marketlake_airflow.plan_operator import PLAN_KEY, PlanFetchesOperator
from marketlake_airflow.spark_operator import SparkJobOperator
from marketlake_airflow.step_operator import LibraryStepOperator
from tests.dags.conftest import Library, TaskInstance, context_of

RUN = "daily_market_data_pipeline__scheduled__2025-01-02T01:00:00+00:00"
PLAN = {"run_id": RUN, "work": [{"exchange": "binance", "dataset": "ohlcv", "tasks": 2}]}


def _with_plan(plan: Any = PLAN, **more: Any) -> dict[str, Any]:
    return context_of(ti=TaskInstance({("plan_fetches", PLAN_KEY): plan}, **more))


def _outcome(operator: LibraryStepOperator, context: dict[str, Any]) -> type[BaseException] | None:
    try:
        operator.execute(context)
    except AirflowException as error:
        return type(error)
    return None


def test_a_step_is_called_with_the_run_of_its_dag_run(library: Library) -> None:
    operator = LibraryStepOperator(task_id="publish_changes", step="publish_changes", options=["--x"])

    assert operator.execute(context_of()) == {"done": "publish_changes"}
    assert library.calls == [["step", "publish_changes", "--run", RUN, "--x", "--json"]]


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        pytest.param({"code": 1, "is_retryable": True}, AirflowException, id="tried again"),
        pytest.param({"code": 1, "is_retryable": False}, AirflowFailException, id="not tried again"),
        pytest.param({"code": 2, "is_retryable": True}, AirflowFailException, id="wrong use"),
    ],
)
def test_only_what_can_heal_is_tried_again(library: Library, failure: dict[str, Any], outcome: type) -> None:
    library.fail("publish_changes", "the database does not answer", **failure)

    with pytest.raises(outcome, match="the database does not answer") as caught:
        LibraryStepOperator(task_id="publish_changes", step="publish_changes").execute(context_of())

    assert caught.type is outcome


def test_a_step_with_nothing_to_do_is_shown_as_skipped(library: Library) -> None:
    operator = LibraryStepOperator(task_id="refresh", step="refresh_grafana_dashboards")

    with pytest.raises(AirflowSkipException, match="no Grafana is configured"):
        operator.execute(context_of())


def test_each_loaded_dataset_emits_one_asset_event_with_its_range(library: Library) -> None:
    loaded = {"dataset": "ohlcv", "start": "2025-01-01T00:00:00Z", "end": "2025-01-02T00:00:00Z", "rows": 7}
    library.answer("validate_data_quality", {"loaded": [loaded]})
    operator = LibraryStepOperator(task_id="validate", step="validate_data_quality", outlets=[BRONZE_LOADED])
    events: list[tuple[str, dict[str, Any]]] = []
    alias = type("Events", (), {"add": lambda self, asset, extra: events.append((asset.uri, extra))})()

    operator.execute(context_of(outlet_events={BRONZE_LOADED: alias}))

    del loaded["dataset"]
    assert events == [("x-marketlake://bronze/ohlcv", loaded)]


def test_planning_opens_the_run_over_its_window_and_keeps_the_plan_small(library: Library) -> None:
    operator = PlanFetchesOperator(task_id="plan_fetches", datasets=["ohlcv"], with_open_holes=True)
    context = context_of()

    plan = operator.execute(context)

    opened = " ".join(library.calls[0])
    assert opened.startswith(f"step open_run --run {RUN} --kind daily_market_data_pipeline --mode incremental")
    assert "--start 2025-01-01T00:00:00Z --end 2025-01-02T00:00:00Z --dataset ohlcv --with-open-holes" in opened
    assert library.steps == ["open_run", "plan_fetches"]
    assert sorted(plan) == ["run_id", "tasks", "window", "work"]
    assert context["ti"].pushed == {PLAN_KEY: plan}


def test_planning_without_an_interval_leaves_the_window_to_the_watermarks(library: Library) -> None:
    context = context_of(data_interval_start=None, data_interval_end=None, params={"mode": "force"})

    PlanFetchesOperator(task_id="plan_fetches", datasets=["ohlcv"]).execute(context)

    assert "--start" not in library.calls[0]
    assert library.calls[0][library.calls[0].index("--mode") + 1] == "force"


def test_a_reversed_window_fails_the_first_task_at_once_and_asks_nothing(library: Library) -> None:
    operator = PlanFetchesOperator(task_id="plan_fetches", datasets=["ohlcv"])

    with pytest.raises(AirflowFailException, match="start must be before end"):
        operator.execute(context_of(params={"start": "2025-01-02", "end": "2025-01-01"}))

    assert library.calls == []


def test_an_exchange_with_work_is_fetched_and_one_without_is_skipped(library: Library) -> None:
    def fetch(dataset: str) -> type[BaseException] | None:
        operator = IngestOperator(task_id="ingest", exchange="binance", dataset=dataset, plan="plan_fetches")
        return _outcome(operator, _with_plan())

    assert fetch("ohlcv") is None
    assert fetch("funding_rates") is AirflowSkipException
    assert [call[1:] for call in library.calls] == [
        ["ingest", "--run", RUN, "--exchange", "binance", "--dataset", "ohlcv", "--json"]
    ]


@pytest.mark.parametrize(
    ("plan", "outcome", "steps"),
    [
        pytest.param(PLAN, None, ["load_bronze"], id="plan"),
        pytest.param(None, AirflowFailException, [], id="no plan"),
        pytest.param({"dry_run": True}, AirflowSkipException, [], id="dry run"),
    ],
)
def test_a_load_works_only_for_a_run_with_a_plan(
    library: Library, plan: Any, outcome: type | None, steps: list[str]
) -> None:
    operator = SparkJobOperator(
        task_id="load_bronze", step="load_bronze", prepare="prepare_load", job="job.py", needs="plan_fetches"
    )

    assert _outcome(operator, _with_plan(plan)) is outcome
    assert library.steps == steps


def _check(states: list[dict[str, Any]], plan: Any = PLAN) -> str:
    operator = CheckRunOperator(task_id="check_run", needs="plan_fetches", warn_only=["optimize_delta_tables"])
    context = context_of(ti=TaskInstance({("plan_fetches", PLAN_KEY): plan}, states))
    try:
        operator.execute(context)
    except AirflowFailException as error:
        return str(error)
    return ""


def test_a_run_is_green_when_only_what_may_fail_failed(library: Library) -> None:
    assert _check([{"task_id": "optimize_delta_tables", "map_index": -1, "state": "failed"}]) == ""
    assert library.steps == ["mirror_ledger", "check_run"]


def test_a_red_run_names_what_to_clear_and_what_was_not_reached(library: Library) -> None:
    library.fail("check_run", "binance BTC/USDT ohlcv was refused; then clear load_bronze")
    text = _check(
        [
            {"task_id": "ingest_ohlcv", "map_index": 1, "state": "failed"},
            {"task_id": "dbt_marts", "map_index": -1, "state": "upstream_failed"},
            {"task_id": "publish_changes", "map_index": -1, "state": "success"},
        ]
    )

    assert "clear ingest_ohlcv[1] with its downstream tasks" in text
    assert "not reached because of that: dbt_marts" in text
    assert "clear load_bronze" in text
    assert "publish_changes" not in text


def test_a_mirror_that_fails_hides_nothing_of_what_is_to_be_cleared(library: Library) -> None:
    library.fail("mirror_ledger", "the lake's root cannot be written")
    library.fail("check_run", "binance BTC/USDT ohlcv was refused; then clear load_bronze")

    text = _check([{"task_id": "ingest_ohlcv", "map_index": 0, "state": "failed"}])

    assert text.splitlines() == [
        "ingest_ohlcv[0] failed: mend the cause its log names, then clear ingest_ohlcv[0] with its downstream tasks",
        "the lake's root cannot be written",
        "binance BTC/USDT ohlcv was refused; then clear load_bronze",
    ]


def test_a_mirror_that_can_heal_is_tried_again_and_the_refusals_are_said_each_time(library: Library) -> None:
    library.fail("mirror_ledger", "the storage does not answer", is_retryable=True)
    library.fail("check_run", "then clear load_bronze")

    with pytest.raises(AirflowException, match=r"(?s)the storage does not answer.*then clear load_bronze") as caught:
        _check([])

    assert caught.type is AirflowException


def test_a_run_without_a_plan_asks_the_ledger_nothing(library: Library) -> None:
    assert "plan_fetches failed" in _check([{"task_id": "plan_fetches", "map_index": -1, "state": "failed"}], plan=None)
    assert library.calls == []


def test_a_check_that_could_not_be_made_is_tried_again(library: Library) -> None:
    library.fail("check_run", "the database does not answer", is_retryable=True)

    with pytest.raises(AirflowException) as caught:
        _check([])

    assert caught.type is AirflowException
