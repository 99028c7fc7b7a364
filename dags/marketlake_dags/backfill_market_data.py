"""Load any markets over any window, on request: fill in the form and trigger.

**Fields:** the form says what each takes; a wrong type, name or pattern is refused when it is submitted. A start not
before the end, an unknown symbol or a window of more than ten years fail the first task at once and name the field.

**Shows:** `plan_backfill` what will be fetched, each `fetch_chunk` its progress by market, `summarize` what was
expected, loaded, rejected and left open.

**Re-running:** safe; what is there is not fetched again unless `force` is set. Windows are cut into UTC days (calendar
months from 93 days on); a chunk that failed can be cleared alone, with its downstream tasks.

**Rejected rows:** in `bronze.<dataset>_dlq` with their reasons: `bin/marketlake dlq list`.

**Late data:** a hole that the exchange answered without stays open in the ledger, and the daily run asks again.
"""

from __future__ import annotations

from airflow.sdk import chain, dag

from marketlake.settings import load_settings
from marketlake_airflow.backfill_request import backfill_params
from marketlake_airflow.defaults import FIRST_DAY, dag_defaults
from marketlake_airflow.steps import (
    check_run,
    dbt_marts,
    dbt_staging,
    dbt_test,
    fetch_chunk,
    load_bronze,
    merge_gold,
    plan_backfill,
    publish_changes,
    summarize,
    validate_data_quality,
)

SETTINGS = load_settings()


@dag(
    dag_id="backfill_market_data",
    schedule=None,
    start_date=FIRST_DAY,
    max_active_runs=1,
    params=backfill_params(SETTINGS),
    doc_md=__doc__,
    tags=["layer:bronze", "layer:silver", "layer:gold", "dataset:ohlcv", "dataset:funding_rates", "tier:2"],
    **dag_defaults(SETTINGS),
)
def backfill_market_data() -> None:
    plan = plan_backfill()
    chain(
        plan,
        fetch_chunk(SETTINGS, plan),
        load_bronze(needs=plan.task_id),
        validate_data_quality(),
        publish_changes(),
        dbt_staging(),
        dbt_marts(),
        dbt_test(),
        merge_gold(),
        summarize(needs=plan.task_id),
        check_run(needs=plan.task_id),
    )


backfill_market_data()
