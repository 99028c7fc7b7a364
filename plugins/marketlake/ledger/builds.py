"""dbt builds: at most one at a time, pinned to the publications of its start, alive as long as it beats (rule 9)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from marketlake.embedded_postgres import ensure_running
from marketlake.errors import MarketlakeError, UsageError, one_of
from marketlake.ledger.database import open_connection
from marketlake.ledger.publications import hold_publish_order
from marketlake.settings import Settings

DEAD_AFTER_SECONDS = 60.0
BEAT_EVERY_SECONDS = 10.0
_log = logging.getLogger(__name__)
_COLUMNS = "build_id, run_id, pinned_publication_id, state, step, heartbeat_at, opened_at, closed_at, is_full_refresh"


@dataclass(frozen=True)
class Build:
    """One build; it reads publications up to `pinned_publication_id`. Instants are the database's, UTC.

    With `is_full_refresh` every model is computed anew, also with changed columns.
    """

    build_id: int
    run_id: str
    pinned_publication_id: int
    state: str
    step: str
    heartbeat_at: datetime
    opened_at: datetime
    closed_at: datetime | None
    is_full_refresh: bool = False


class BuildLostError(MarketlakeError):
    """Another run took the build over, or it was closed; its publications are built by whoever holds a build now."""


def open_build(
    connection: psycopg.Connection,
    run_id: str,
    *,
    is_full_refresh: bool = False,
    unless_built: int | None = None,
    dead_after_seconds: float = DEAD_AFTER_SECONDS,
) -> Build | None:
    """Open a build for the run, pinned to the newest publication; None while another run's build is alive.

    The run's own open build starts again from its beginning, with a new pin. A build of another run without a beat for
    `dead_after_seconds` is taken over. Both stay full refreshes where they are. None also where no build is open and a
    merged one holds the publication `unless_built`.
    """
    with connection.transaction(), connection.cursor(row_factory=class_row(Build)) as cursor:
        hold_publish_order(cursor)  # no publication may commit below the pin afterwards
        held = cursor.execute(f"select {_COLUMNS} from ops.builds where state = 'open' for update").fetchone()
        if held is not None and held.run_id == run_id:
            return _required(
                cursor.execute(
                    "update ops.builds set step = '', heartbeat_at = clock_timestamp(), pinned_publication_id ="
                    " (select coalesce(max(publication_id), 0) from ops.publications),"
                    " is_full_refresh = is_full_refresh or %s"
                    f" where build_id = %s returning {_COLUMNS}",
                    [is_full_refresh, held.build_id],
                ).fetchone()
            )
        if held is not None:
            cursor.execute(
                "update ops.builds set state = 'taken_over', closed_at = clock_timestamp() where build_id = %s"
                " and heartbeat_at < clock_timestamp() - make_interval(secs => %s)",
                [held.build_id, dead_after_seconds],
            )
            if cursor.rowcount == 0:
                return None
            _log.warning("build %d of run %s stopped beating; run %s takes over", held.build_id, held.run_id, run_id)
            is_full_refresh = is_full_refresh or held.is_full_refresh
        elif unless_built is not None and built_until(connection) >= unless_built:
            return None
        return _required(
            cursor.execute(
                "insert into ops.builds (run_id, is_full_refresh, pinned_publication_id)"
                " select %s, %s, coalesce(max(publication_id), 0) from ops.publications"
                f" returning {_COLUMNS}",
                [run_id, is_full_refresh],
            ).fetchone()
        )


def open_build_of(connection: psycopg.Connection, run_id: str | None = None) -> Build | None:
    """Return the open build, of this run where one is named; None where there is none."""
    with connection.cursor(row_factory=class_row(Build)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.builds where state = 'open' and run_id = coalesce(%s, run_id)", [run_id]
        ).fetchone()


def newest_build_of(connection: psycopg.Connection, run_id: str) -> Build | None:
    """Return the run's newest build in whatever state, or None."""
    with connection.cursor(row_factory=class_row(Build)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.builds where run_id = %s order by build_id desc limit 1", [run_id]
        ).fetchone()


def built_until(connection: psycopg.Connection) -> int:
    """Return the highest publication id that a merged build holds, 0 before the first one."""
    row = connection.execute(
        "select coalesce(max(pinned_publication_id), 0) from ops.builds where state = 'merged'"
    ).fetchone()
    return int(row[0]) if row else 0


def beat(connection: psycopg.Connection, build_id: int, step: str) -> None:
    """Say that the build is alive and in this step.

    Raises:
        BuildLostError: it is not open any more.
    """
    done = connection.execute(
        "update ops.builds set heartbeat_at = clock_timestamp(), step = %s where build_id = %s and state = 'open'",
        [step, build_id],
    )
    if done.rowcount == 0:
        raise BuildLostError(f"build {build_id} is no longer open ({step}): another run took it over, or it was closed")


@contextmanager
def beating(settings: Settings, build_id: int, step: str, *, closes: bool = False) -> Iterator[None]:
    """Beat every ten seconds, on a thread and connection of its own, as long as the body runs.

    A body that `closes` the build is not followed by a last beat.

    Raises:
        BuildLostError: the build was lost before the body began or by its end.
    """
    connection = open_connection(ensure_running(settings))
    try:
        beat(connection, build_id, step)
        done = threading.Event()
        thread = threading.Thread(target=_beat_until, args=(connection, build_id, step, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        if not closes:
            beat(connection, build_id, step)
    finally:
        connection.close()


def close_build(connection: psycopg.Connection | psycopg.Cursor[Any], build_id: int, state: str) -> None:
    """Close the build as `merged` or `failed`; with a cursor, in the caller's transaction.

    Raises:
        BuildLostError: it is not open any more, so a merge in the same transaction must not commit.
        UsageError: the state is neither.
    """
    if state not in ("merged", "failed"):
        raise UsageError(one_of("state", state, ("merged", "failed")))
    done = connection.execute(
        "update ops.builds set state = %s, closed_at = clock_timestamp() where build_id = %s and state = 'open'",
        [state, build_id],
    )
    if done.rowcount == 0:
        raise BuildLostError(f"build {build_id} cannot be closed as {state}: it is no longer open")


def _beat_until(connection: psycopg.Connection, build_id: int, step: str, done: threading.Event) -> None:
    while not done.wait(BEAT_EVERY_SECONDS):
        try:
            beat(connection, build_id, step)
        except (BuildLostError, psycopg.OperationalError) as error:
            _log.warning("%s", error)
            return


def _required(build: Build | None) -> Build:
    if build is None:
        raise RuntimeError("writing a build returned no row")
    return build
