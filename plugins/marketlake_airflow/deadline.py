"""What happens when a run misses its deadline; Airflow's triggerer calls it."""

from __future__ import annotations

import logging
from typing import Any

_LOG = logging.getLogger(__name__)


async def report_missed_deadline(*, hours: int, context: dict[str, Any] | None = None) -> None:
    """Log which run is late; `context` is the little that Airflow tells about it."""
    run = (context or {}).get("dag_run") or {}
    _LOG.warning(
        "run %s of %s is not done %s hours after it was queued; it goes on",
        run.get("dag_run_id") or run.get("run_id"),
        run.get("dag_id"),
        hours,
    )
