"""Load the newest funding events of every configured market and publish them.

**Runs:** hourly, up to the full hour, from REST: archives do not exist yet. The window begins the day before, so
that an hour that was missed is made up by the next; what is there costs no request.

**Re-running:** safe; what is there is not fetched again. Silver and gold follow with the daily run.

**Rejected rows:** in `bronze.funding_rates_dlq` with their reasons: `bin/marketlake dlq list --dataset funding_rates`.

**Late data:** what the exchange does not have yet stays open in the ledger; the daily run asks for it again.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable, chain, dag

from marketlake.instants import DAY
from marketlake.settings import load_settings
from marketlake_airflow.defaults import FIRST_DAY, dag_defaults
from marketlake_airflow.steps import (
    check_run,
    ingest,
    load_bronze,
    plan_fetches,
    publish_changes,
    validate_data_quality,
)
from marketlake_airflow.window import HOUR, window_params

SETTINGS = load_settings()


@dag(
    dag_id="bronze_funding_rates",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    start_date=FIRST_DAY,
    max_active_runs=1,
    params=window_params(),
    doc_md=__doc__,
    tags=["layer:bronze", "dataset:funding_rates", "tier:2"],
    **dag_defaults(SETTINGS),
)
def bronze_funding_rates() -> None:
    chain(
        plan_fetches(datasets=["funding_rates"], grain=HOUR, reach=DAY),
        ingest(SETTINGS, dataset="funding_rates"),
        load_bronze(),
        validate_data_quality(),
        publish_changes(),
        check_run(),
    )


bronze_funding_rates()
