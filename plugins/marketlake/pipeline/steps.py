"""The registry of steps: one name, one function, whoever calls it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import psycopg

from marketlake.errors import UnknownNameError, one_of
from marketlake.ledger import record_step, run_named
from marketlake.ledger.runs import StepTime
from marketlake.pipeline.building import dbt_marts, dbt_staging, dbt_test, merge_gold, publish_changes
from marketlake.pipeline.call import Step, StepCall
from marketlake.pipeline.checking import check_run
from marketlake.pipeline.fetching import ingest, ingest_all, plan_fetches
from marketlake.pipeline.loading import load_bronze, prepare_load, validate_data_quality
from marketlake.pipeline.summary import summary
from marketlake.pipeline.upkeep import mirror_ledger, optimize_delta_tables, refresh_grafana_dashboards
from marketlake.publish.dbt_session import DbtSession
from marketlake.settings import Settings

STEPS: dict[str, Step] = {
    "plan_fetches": plan_fetches,
    "ingest": ingest,
    "ingest_all": ingest_all,
    "prepare_load": prepare_load,
    "load_bronze": load_bronze,
    "validate_data_quality": validate_data_quality,
    "publish_changes": publish_changes,
    "dbt_staging": dbt_staging,
    "dbt_marts": dbt_marts,
    "dbt_test": dbt_test,
    "merge_gold": merge_gold,
    "optimize_delta_tables": optimize_delta_tables,
    "refresh_grafana_dashboards": refresh_grafana_dashboards,
    "mirror_ledger": mirror_ledger,
    "summary": summary,
    "check_run": check_run,
}


def step_named(name: str) -> Step:
    """Return the step of this name.

    Raises:
        UnknownNameError: no such step; the text names those there are.
    """
    if name not in STEPS:
        raise UnknownNameError(one_of("step", name, ["open_run", *STEPS]))
    return STEPS[name]


def call_step(name: str, call: StepCall) -> dict[str, Any]:
    """Do one step of the call's run, store what it reported and how long it took, and return both."""
    step = step_named(name)
    started = time.monotonic()
    result = step(call)
    seconds = round(time.monotonic() - started, 3)
    time_of_step = StepTime(name, seconds, call.exchange or "", call.dataset or "", _small(result))
    record_step(call.connection, call.run.run_id, time_of_step)
    return {**result, "seconds": seconds}


def call_step_of(
    settings: Settings, connection: psycopg.Connection, name: str, run_id: str, **where: Any
) -> dict[str, Any]:
    """Do one step of a known run.

    Raises:
        UsageError: no run has this id; the step is unknown.
    """
    step_named(name)
    with DbtSession(settings) as dbt:
        call = StepCall(settings, connection, run_named(connection, run_id), dbt=dbt)
        return call_step(name, replace(call, **where))


def _small(result: dict[str, Any]) -> dict[str, Any]:
    """Return what of a result is worth keeping in the ledger: its plain values."""
    return {name: value for name, value in result.items() if isinstance(value, str | int | float | bool)}
