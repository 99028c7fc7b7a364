"""When a run is late, and what happens then; Airflow's scheduler asks the one and its triggerer calls the other."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.deadline import BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_LOG = logging.getLogger(__name__)


class RunQueued(BaseDeadlineReference):
    """The instant at which a run was first queued.

    Airflow's own reference of this kind cannot be recalculated when a task of an unfinished run is cleared (3.3.2 adds
    the stored interval as if it were a number of seconds): clearing then fails. This one stays as it is.
    """

    required_kwargs = {"dag_id", "run_id"}  # noqa: RUF012 - Airflow's own form

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        return session.scalar(select(DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


async def report_missed_deadline(*, hours: int, context: dict[str, Any] | None = None) -> None:
    """Log which run is late; `context` is the little that Airflow tells about it."""
    run = (context or {}).get("dag_run") or {}
    _LOG.warning(
        "run %s of %s is not done %s hours after it was queued; it goes on",
        run.get("dag_run_id") or run.get("run_id"),
        run.get("dag_id"),
        hours,
    )
