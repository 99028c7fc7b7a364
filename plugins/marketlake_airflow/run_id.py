"""The ids under which the library knows Airflow's runs and the chunks of a backfill."""

from __future__ import annotations

import re
from datetime import datetime

_FOREIGN = re.compile(r"[^A-Za-z0-9_.:+-]")
_LONGEST = 200
_CHUNK_SUFFIX = 9  # ".20250131"


def library_run_id(dag_id: str, run_id: str) -> str:
    """Return the library's id of a DAG run; the same for every task and every attempt of it."""
    return _FOREIGN.sub("_", f"{dag_id}__{run_id}")[: _LONGEST - _CHUNK_SUFFIX]


def chunk_run_id(parent: str, start: datetime) -> str:
    """Return the id of the chunk of a backfill that starts on this day."""
    return f"{parent}.{start:%Y%m%d}"
