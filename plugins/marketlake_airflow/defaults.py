"""What every DAG shares: owner, retries, limits, tags, the deadline, and whether it starts paused."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pendulum
from airflow.sdk import AsyncCallback, DeadlineAlert

from marketlake.settings import Settings
from marketlake_airflow.deadline import RunQueued

OWNER = "marketlake"
# No run of an interval DAG reaches further back than this.
FIRST_DAY: datetime = pendulum.datetime(2010, 1, 1, tz="UTC")
# The closed list of tags; a DAG with another one does not pass the tests.
TAGS = (
    "layer:bronze",
    "layer:silver",
    "layer:gold",
    "dataset:ohlcv",
    "dataset:funding_rates",
    "dataset:trades",
    "tier:1",
    "tier:2",
)


def dag_defaults(settings: Settings) -> dict[str, Any]:
    """Return the arguments that every DAG passes on: default arguments of its tasks, and whether it starts paused."""
    return {
        "catchup": False,
        "is_paused_upon_creation": not settings.orchestration.scheduler_enabled,
        "default_args": {
            "owner": OWNER,
            # The nearer a task is to its run's end, the sooner it gets a free slot: else the first tasks of other runs
            # take the slots of the run that holds the build, and its next step waits until the build is taken from it.
            "weight_rule": "upstream",
            "retries": 3,
            "retry_delay": timedelta(minutes=5),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=20),
            "execution_timeout": timedelta(minutes=settings.orchestration.job_timeout_minutes),
        },
    }


def finish_within(*, hours: int) -> DeadlineAlert:
    """Return the alert for a run that is not done this long after it was queued; the run goes on."""
    return DeadlineAlert(
        reference=RunQueued(),
        interval=timedelta(hours=hours),
        callback=AsyncCallback("marketlake_airflow.deadline.report_missed_deadline", kwargs={"hours": hours}),
    )
