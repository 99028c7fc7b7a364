"""The tasks that DAGs are wired from: one factory each, named as its task. Limits and pools come from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.mappedoperator import MappedOperator

from marketlake.instants import DAY
from marketlake.settings import Settings
from marketlake_airflow.assets import BRONZE_LOADED
from marketlake_airflow.backfill_operators import FetchChunkOperator, PlanBackfillOperator, SummarizeOperator
from marketlake_airflow.check_operator import CheckRunOperator
from marketlake_airflow.ingest_operator import IngestOperator
from marketlake_airflow.plan_operator import PlanFetchesOperator
from marketlake_airflow.pools import BRONZE_WRITER, JOBS, api_pool, exchange_ids, workers
from marketlake_airflow.spark_operator import SparkJobOperator
from marketlake_airflow.step_operator import LibraryStepOperator

PLAN_TASK = "plan_fetches"
LOAD_JOB = "spark_jobs/bronze/load.py"
WARN_ONLY = ("optimize_delta_tables", "refresh_grafana_dashboards")


def plan_fetches(
    *,
    datasets: Sequence[str],
    grain: timedelta = DAY,
    reach: timedelta = timedelta(0),
    with_open_holes: bool = False,
) -> PlanFetchesOperator:
    """Open the run and plan what is unfinished and what is wanted."""
    return PlanFetchesOperator(
        task_id=PLAN_TASK, datasets=datasets, grain=grain, reach=reach, with_open_holes=with_open_holes, pool=JOBS
    )


def ingest(settings: Settings, *, dataset: str) -> MappedOperator:
    """Fetch a dataset: task `ingest_<dataset>`, one instance for each exchange, skipped without work."""
    return IngestOperator.partial(
        task_id=f"ingest_{dataset}",
        dataset=dataset,
        plan=PLAN_TASK,
        pool=api_pool(settings),
        max_active_tis_per_dagrun=workers(settings),
        map_index_template="{{ task.exchange }}",
    ).expand(exchange=exchange_ids(settings))


def load_bronze(*, needs: str = PLAN_TASK) -> SparkJobOperator:
    """Load every sealed manifest; an exchange that is down does not stop the others."""
    return SparkJobOperator(
        task_id="load_bronze",
        step="load_bronze",
        prepare="prepare_load",
        job=LOAD_JOB,
        needs=needs,
        pool=BRONZE_WRITER,
        trigger_rule="all_done",
    )


def validate_data_quality() -> LibraryStepOperator:
    """Read the verdicts, publish data docs and metrics; emits an asset event for each dataset that got rows."""
    return _step("validate_data_quality", outlets=[BRONZE_LOADED])


def publish_changes() -> LibraryStepOperator:
    """Copy changed current rows to Postgres."""
    return _step("publish_changes")


def dbt_staging() -> LibraryStepOperator:
    """Build staging and silver from what is published."""
    return _step("dbt_staging")


def dbt_marts() -> LibraryStepOperator:
    """Build the marts in `gold_build`."""
    return _step("dbt_marts")


def dbt_test() -> LibraryStepOperator:
    """Test silver and the built marts; a failure stops the merge."""
    return _step("dbt_test")


def merge_gold() -> LibraryStepOperator:
    """Merge changed rows into `gold` in one transaction."""
    return _step("merge_gold")


def optimize_delta_tables() -> LibraryStepOperator:
    """Compact the partitions that the run wrote; a failure warns."""
    return _step("optimize_delta_tables", pool=BRONZE_WRITER, retries=0)


def refresh_grafana_dashboards() -> LibraryStepOperator:
    """Refresh the dashboards; skipped with a word where no Grafana is configured; a failure warns."""
    return _step("refresh_grafana_dashboards", retries=0)


def check_run(*, needs: str = PLAN_TASK) -> CheckRunOperator:
    """Turn the run red when something failed that it should have done, and name what to clear."""
    return CheckRunOperator(task_id="check_run", needs=needs, warn_only=WARN_ONLY, pool=JOBS)


def plan_backfill() -> PlanBackfillOperator:
    """Check the form and show the plan."""
    return PlanBackfillOperator(task_id="plan_backfill", pool=JOBS)


def fetch_chunk(settings: Settings, plan: PlanBackfillOperator) -> MappedOperator:
    """Fetch one chunk of a backfill; mapped, so that a failed one can be cleared alone."""
    return FetchChunkOperator.partial(
        task_id="fetch_chunk",
        plan=plan.task_id,
        pool=api_pool(settings),
        max_active_tis_per_dagrun=workers(settings),
        map_index_template="{{ task.chunk['start'][:10] }}",
    ).expand(chunk=plan.output)


def summarize(*, needs: str) -> SummarizeOperator:
    """Show expected, loaded, rejected and gaps by market."""
    return SummarizeOperator(task_id="summarize", needs=needs, pool=JOBS)


def _step(name: str, *, pool: str = JOBS, **kwargs: Any) -> LibraryStepOperator:
    return LibraryStepOperator(task_id=name, step=name, pool=pool, **kwargs)
