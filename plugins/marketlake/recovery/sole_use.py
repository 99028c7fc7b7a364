"""Sole use of the lake's tables and ledger: recovery never works beside a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime

import psycopg

from marketlake.errors import UnavailableError
from marketlake.instants import format_instant
from marketlake.ledger.leases import table_lease
from marketlake.settings import Settings

# As long as a run may go on; one that is older was killed (its next opening begins it anew).
_RUNNING = (
    "select run_id, created_at from ops.runs where state = 'running'"
    " and clock_timestamp() + clock_offset_seconds * interval '1 second' - now_at < interval '1 day'"
    " order by created_at"
)


@contextmanager
def leased(settings: Settings, tables: Sequence[str]) -> Iterator[None]:
    """Hold the leases of the tables; nobody is waited for.

    Raises:
        UnavailableError: another process writes one of them.
    """
    with ExitStack() as leases:
        for table in tables:
            leases.enter_context(table_lease(settings, table, wait_seconds=0))
        yield


@contextmanager
def without_runs(connection: psycopg.Connection, *, ends_runs: bool = False) -> Iterator[None]:
    """Hold a transaction in which no run can begin; commit it at the end.

    `ends_runs` takes runs that are marked as running for killed and marks them as failed.

    Raises:
        UnavailableError: a run is active; nothing was changed.
    """
    with connection.transaction():
        connection.execute("lock table ops.runs in share row exclusive mode")
        running = connection.execute(_RUNNING).fetchall()
        if running and not ends_runs:
            raise UnavailableError(_still_running(running))
        connection.execute(
            "update ops.runs set state = 'failed', finished_at = clock_timestamp() where run_id = any(%s)",
            [[run_id for run_id, _ in running]],
        )
        yield


def running_runs(connection: psycopg.Connection) -> list[str]:
    """Return the runs that are marked as running and began within a day, oldest first."""
    return [str(run_id) for run_id, _ in connection.execute(_RUNNING).fetchall()]


def _still_running(running: Sequence[tuple[str, datetime]]) -> str:
    named = [f"{run_id} (since {format_instant(created_at)})" for run_id, created_at in running[:5]]
    more = f" and {len(running) - 5} more" if len(running) > 5 else ""
    return (
        f"{len(running)} run(s) are marked as running: {', '.join(named)}{more}; nothing was changed. Wait for them, or"
        " add --end-runs if they were killed"
    )
