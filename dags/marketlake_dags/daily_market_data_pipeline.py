"""Load yesterday's market data, check it, publish it, and rebuild silver and gold.

**Runs:** 01:00 UTC, for the UTC day before, and for older holes of its markets that are due to be asked for again.

**Re-running:** safe. Clear a task, trigger it with a window, or start a backfill from the UI, the API or
`bin/marketlake airflow backfill create`, at any time and in any order: what is there is not fetched again.

**Rejected rows:** in `bronze.<dataset>_dlq` and as files in `dlq/`, with their reasons: `bin/marketlake dlq list`.

**Late corrections:** an exchange may restate a candle. Trigger that day with mode `force`: new values become a new
revision, and silver and gold follow.

**A red last task:** an exchange, a market or a manifest failed; all others are loaded, to gold. `check_run` names what
to clear once the cause is mended.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable, chain, dag

from marketlake.settings import load_settings
from marketlake_airflow.defaults import FIRST_DAY, dag_defaults, finish_within
from marketlake_airflow.steps import (
    check_run,
    dbt_marts,
    dbt_staging,
    dbt_test,
    ingest,
    load_bronze,
    merge_gold,
    optimize_delta_tables,
    plan_fetches,
    publish_changes,
    refresh_grafana_dashboards,
    validate_data_quality,
)
from marketlake_airflow.window import window_params

SETTINGS = load_settings()
DATASETS = ("ohlcv", "funding_rates", "trades")


@dag(
    dag_id="daily_market_data_pipeline",
    # The interval is [D-1 01:00, D 01:00); the window floors both ends to midnight: the UTC day before.
    schedule=CronDataIntervalTimetable("0 1 * * *", timezone="UTC"),
    start_date=FIRST_DAY,
    max_active_runs=1,
    params=window_params(),
    deadline=finish_within(hours=2),
    doc_md=__doc__,
    tags=["layer:bronze", "layer:silver", "layer:gold", *(f"dataset:{name}" for name in DATASETS), "tier:1"],
    **dag_defaults(SETTINGS),
)
def daily_market_data_pipeline() -> None:
    chain(
        plan_fetches(datasets=DATASETS, with_open_holes=True),
        [ingest(SETTINGS, dataset=name) for name in DATASETS],
        load_bronze(),
        validate_data_quality(),
        publish_changes(),
        dbt_staging(),
        dbt_marts(),
        dbt_test(),
        merge_gold(),
        [optimize_delta_tables(), refresh_grafana_dashboards()],
        check_run(),
    )


daily_market_data_pipeline()
