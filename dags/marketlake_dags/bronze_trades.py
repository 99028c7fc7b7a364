"""Load the newest trades of every configured market and publish them.

**Runs:** hourly, for the hour before, from REST: today's archives do not exist yet.

**Re-running:** safe; what is there is not fetched again, and a trade that comes twice is stored once. Candles that no
archive and no REST answer holds are rebuilt from these trades by the next run that asks for them.

**Rejected rows:** in `bronze.trades_dlq` with their reasons: `bin/marketlake dlq list --dataset trades`.

**Late data:** where the exchange's ids jump, the range between the two trades stays open in the ledger; the daily run
asks for it again.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable, chain, dag

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
    dag_id="bronze_trades",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    start_date=FIRST_DAY,
    max_active_runs=1,
    params=window_params(),
    doc_md=__doc__,
    tags=["layer:bronze", "dataset:trades", "tier:2"],
    **dag_defaults(SETTINGS),
)
def bronze_trades() -> None:
    chain(
        plan_fetches(datasets=["trades"], grain=HOUR),
        ingest(SETTINGS, dataset="trades"),
        load_bronze(),
        validate_data_quality(),
        publish_changes(),
        check_run(),
    )


bronze_trades()
