"""Runs: what was asked, on which clock, and how each step of it went."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from marketlake.errors import DataError, UsageError, one_of
from marketlake.instants import OffsetClock, Window

RUN_MODES = ("incremental", "backfill", "force")
RUN_STATES = ("running", "succeeded", "failed")
_RUN_ID = re.compile(r"[A-Za-z0-9_.:+-]{1,200}")


@dataclass(frozen=True)
class Run:
    """One run. `now` is fixed at its start, on the run's clock, which is the machine's plus `clock_offset`.

    `window` is None where each market goes on from its high watermark; `kind` is `cli` or the id of a DAG.
    """

    run_id: str
    kind: str
    window: Window | None
    mode: str
    request: dict[str, Any]
    now: datetime
    clock_offset: timedelta = timedelta(0)
    state: str = "running"

    @property
    def clock(self) -> OffsetClock:
        """The run's clock."""
        return OffsetClock(self.clock_offset)


@dataclass(frozen=True)
class StepTime:
    """What one step of a run last reported; `seconds` is wall time."""

    step: str
    seconds: float
    exchange: str = ""
    dataset: str = ""
    result: dict[str, Any] = field(default_factory=dict)


def create_run(connection: psycopg.Connection, run: Run) -> Run:
    """Store the run and return it as stored: a repeat returns the first one, with its fixed now.

    Raises:
        UsageError: the run id or the mode is malformed.
        DataError: the id is known with another window or mode.
    """
    if not _RUN_ID.fullmatch(run.run_id):
        raise UsageError(f"a run id has 1 to 200 letters, digits or _ . : + -; was {run.run_id!r}")
    if run.mode not in RUN_MODES:
        raise UsageError(one_of("mode", run.mode, RUN_MODES))
    connection.execute(
        "insert into ops.runs"
        " (run_id, kind, window_start, window_end, mode, request, now_at, clock_offset_seconds)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (run_id) do nothing",
        [
            run.run_id,
            run.kind,
            run.window.start if run.window else None,
            run.window.end if run.window else None,
            run.mode,
            Jsonb(run.request),
            run.now,
            run.clock_offset.total_seconds(),
        ],
    )
    stored = run_named(connection, run.run_id)
    if (stored.window, stored.mode) != (run.window, run.mode):
        raise DataError(
            f"run {run.run_id} is known with window {stored.window} and mode {stored.mode};"
            f" it was now asked for with {run.window} and {run.mode}: use another run id"
        )
    return stored


def reopen_run(connection: psycopg.Connection, run_id: str, *, now: datetime, clock_offset: timedelta) -> Run:
    """Let a run begin anew, with a now and a clock of today, and return it; what it was asked stays.

    Raises:
        UsageError: no run has this id.
    """
    connection.execute(
        "update ops.runs set now_at = %s, clock_offset_seconds = %s, state = 'running', finished_at = null"
        " where run_id = %s",
        [now, clock_offset.total_seconds(), run_id],
    )
    return run_named(connection, run_id)


def run_named(connection: psycopg.Connection, run_id: str) -> Run:
    """Return the run of this id.

    Raises:
        UsageError: no run has it.
    """
    row = connection.execute(
        "select kind, window_start, window_end, mode, request, now_at, clock_offset_seconds, state"
        " from ops.runs where run_id = %s",
        [run_id],
    ).fetchone()
    if row is None:
        raise UsageError(f"no run is called {run_id!r}; its first step, open_run, makes it")
    kind, start, end, mode, request, now, offset, state = row
    return Run(
        run_id, kind, Window(start, end) if start else None, mode, request, now, timedelta(seconds=offset), state
    )


def newest_runs(connection: psycopg.Connection, limit: int = 20) -> list[Run]:
    """Return the newest runs, newest first."""
    rows = connection.execute("select run_id from ops.runs order by created_at desc limit %s", [limit]).fetchall()
    return [run_named(connection, run_id) for (run_id,) in rows]


def finish_run(connection: psycopg.Connection, run_id: str, state: str) -> None:
    """Record how the run ended; a cleared run may end again, and the last end counts.

    Raises:
        UsageError: the state is not one of RUN_STATES.
    """
    if state not in RUN_STATES:
        raise UsageError(one_of("state", state, RUN_STATES))
    connection.execute(
        "update ops.runs set state = %s, finished_at = case when %s = 'running' then null else clock_timestamp() end"
        " where run_id = %s",
        [state, state, run_id],
    )


def record_step(connection: psycopg.Connection, run_id: str, time: StepTime) -> None:
    """Store what a step reported; its next pass in the same run replaces it."""
    connection.execute(
        "insert into ops.step_times (run_id, step, exchange, dataset, seconds, result) values (%s, %s, %s, %s, %s, %s)"
        " on conflict (run_id, step, exchange, dataset) do update"
        " set seconds = excluded.seconds, result = excluded.result, recorded_at = clock_timestamp()",
        [run_id, time.step, time.exchange, time.dataset, time.seconds, Jsonb(time.result)],
    )


def steps_of(connection: psycopg.Connection, run_id: str) -> list[StepTime]:
    """Return the run's steps in the order in which they last ended."""
    rows = connection.execute(
        "select step, seconds, exchange, dataset, result from ops.step_times where run_id = %s order by recorded_at",
        [run_id],
    ).fetchall()
    return [StepTime(*row) for row in rows]
