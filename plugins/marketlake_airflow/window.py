"""What a DAG's form asks of a window, and a task's window from its context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param

from marketlake.instants import DAY, Window, floor_instant, parse_instant
from marketlake.planning.window import window_of_run

HOUR = timedelta(hours=1)
MODES = ("incremental", "backfill", "force")
INSTANT = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2}))?$"
_INSTANT_HELP = "A date like 2025-01-31 (midnight UTC) or an instant like 2025-01-31T06:00Z."


def instant_param(title: str, description: str) -> Param:
    """Return a form field for a date or an instant that may stay empty."""
    return Param(
        None, type=["null", "string"], pattern=INSTANT, title=title, description=f"{description} {_INSTANT_HELP}"
    )


def mode_param() -> Param:
    """Return the form field for a run's mode."""
    return Param(
        "incremental",
        type="string",
        enum=list(MODES),
        title="Mode",
        description="incremental: what is missing. backfill: the same, kept apart in the ledger. "
        "force: everything again; values that changed become new revisions.",
    )


def window_params() -> dict[str, Param]:
    """Return the trigger form of a DAG that works on a window."""
    return {
        "start": instant_param("Start", "First instant of the window; empty: the run's data interval."),
        "end": instant_param("End", "First instant after the window; empty: the end of the run's data interval."),
        "mode": mode_param(),
    }


def window_of(context: Mapping[str, Any], *, grain: timedelta = DAY, reach: timedelta = timedelta(0)) -> Window | None:
    """Return the window of a run, its ends floored to `grain`; None means from the high watermarks to now.

    A data interval that is shorter than `reach` begins on the UTC midnight at or before `reach` back from its end: a
    candle belongs to the window in which it opens, so one that closes in this hour may have opened the day before.

    Raises:
        WindowError: the parameters are unreadable, reversed or too far apart; the text names the field.
    """
    params = context.get("params") or {}
    first, last = context.get("data_interval_start"), context.get("data_interval_end")
    interval = (plain_instant(first), plain_instant(last)) if first and last else None
    if interval is not None and timedelta(0) < interval[1] - interval[0] < reach:
        interval = (floor_instant(interval[1] - reach, DAY), interval[1])
    return window_of_run(
        start=params.get("start"),
        end=params.get("end"),
        assets=_ranges(context.get("triggering_asset_events") or {}),
        interval=interval,
        grain=grain,
    )


def plain_instant(instant: datetime) -> datetime:
    """Return a datetime of the standard library for one of Airflow's, whose arithmetic differs."""
    return datetime.fromisoformat(instant.isoformat())


def _ranges(events: Mapping[Any, Sequence[Any]]) -> list[Window]:
    extras = [event.extra or {} for of_asset in events.values() for event in of_asset]
    return [
        Window(parse_instant(extra["start"]), parse_instant(extra["end"]))
        for extra in extras
        if extra.get("start") and extra.get("end")
    ]
