"""The one place where a task's window comes from: parameters, else asset events, else data interval, else watermark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param

from marketlake.errors import WindowError
from marketlake.instants import DAY, Window, floor_instant, parse_instant, parse_window

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
        "end": instant_param("End", "First instant after the window; empty: the run's data interval."),
        "mode": mode_param(),
    }


def window_of(context: Mapping[str, Any], *, grain: timedelta = DAY) -> Window | None:
    """Return the window of a run, its ends floored to `grain`; None means from the high watermarks to now.

    Raises:
        WindowError: the parameters are unreadable, reversed or too far apart; the text names the field.
    """
    return (
        _of_params(context.get("params") or {})
        or _of_events(_ranges(context.get("triggering_asset_events") or {}))
        or _of_interval(context.get("data_interval_start"), context.get("data_interval_end"), grain=grain)
    )


def plain_instant(instant: datetime) -> datetime:
    """Return a datetime of the standard library for one of Airflow's, whose arithmetic differs."""
    return datetime.fromisoformat(instant.isoformat())


def _of_params(params: Mapping[str, Any]) -> Window | None:
    start, end = params.get("start"), params.get("end")
    if start is None and end is None:
        return None
    if start is None or end is None:
        missing = "start" if start is None else "end"
        raise WindowError(f"{missing} is empty: give start and end, or neither for the run's data interval")
    return parse_window(start, end)


def _ranges(events: Mapping[Any, Sequence[Any]]) -> list[Window]:
    extras = [event.extra or {} for of_asset in events.values() for event in of_asset]
    return [
        Window(parse_instant(extra["start"]), parse_instant(extra["end"]))
        for extra in extras
        if extra.get("start") and extra.get("end")
    ]


def _of_events(ranges: Sequence[Window]) -> Window | None:
    if not ranges:
        return None
    return Window(min(window.start for window in ranges), max(window.end for window in ranges))


def _of_interval(start: datetime | None, end: datetime | None, *, grain: timedelta) -> Window | None:
    if start is None or end is None:
        return None
    start, end = floor_instant(plain_instant(start), grain), floor_instant(plain_instant(end), grain)
    return Window(start, end) if start < end else None
