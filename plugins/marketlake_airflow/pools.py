"""Airflow's pools: their names, their slots from the settings, and how they come to be.

Airflow makes them when it starts, so that no deployment has to. A pool bounds workers only; how hard an exchange is
asked is the request budget's business.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from airflow.listeners import hookimpl

from marketlake.settings import Settings, load_settings

JOBS = "marketlake_jobs"
# Airflow's side of the one writer per table; the lease itself is in Postgres.
BRONZE_WRITER = "bronze_writer"
_SEVERAL_EXCHANGES = "api_exchanges"
_DESCRIPTION = "set from marketlake's settings at every start"


def exchange_ids(settings: Settings) -> list[str]:
    """Return the exchanges that scheduled runs ask, in the order of the settings."""
    return [name for name, exchange in settings.exchanges.items() if exchange.enabled]


def api_pool(settings: Settings) -> str:
    """Return the pool of the tasks that ask exchanges.

    Airflow gives all instances of a mapped task one pool, so with several exchanges they share one.
    """
    exchanges = exchange_ids(settings)
    return f"api_{exchanges[0]}" if len(exchanges) == 1 else _SEVERAL_EXCHANGES


def workers(settings: Settings) -> int:
    """Return how many tasks of one run may ask an exchange at a time."""
    return settings.etl.worker_count if settings.etl.enable_parallel_processing else 1


def pool_slots(settings: Settings) -> dict[str, int]:
    """Return the slots of every pool by its name."""
    jobs = settings.orchestration.max_concurrent_jobs
    slots = {JOBS: jobs, BRONZE_WRITER: 1, _SEVERAL_EXCHANGES: max(jobs, workers(settings))}
    return slots | {f"api_{exchange}": max(jobs, workers(settings)) for exchange in exchange_ids(settings)}


@hookimpl
def on_starting(component: Any) -> None:
    """Make the pools, or set their slots, when a component of Airflow starts that may write its database."""
    from airflow.jobs.job import Job

    if not isinstance(component, Job):
        return
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    with suppress(IntegrityError), create_session() as session:  # another component made them at the same moment
        for name, slots in pool_slots(load_settings()).items():
            Pool.create_or_update_pool(
                name, slots=slots, description=_DESCRIPTION, include_deferred=False, session=session
            )
