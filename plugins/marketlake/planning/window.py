"""A run's window, from one function (design, rule 7): params, else triggering assets, else data interval, else none.

Never from the machine's clock. Imports nothing but instants and errors, so that Airflow's environment can use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from marketlake.errors import WindowError
from marketlake.instants import DAY, LONGEST_WINDOW, Window, as_utc, floor_instant, format_instant, parse_instant


def window_of_run(
    *,
    start: str | datetime | None = None,
    end: str | datetime | None = None,
    days: int | None = None,
    assets: Sequence[Window] = (),
    interval: tuple[datetime, datetime] | None = None,
    now: datetime | None = None,
    grain: timedelta | None = None,
) -> Window | None:
    """Return the window that a run works on, or None where each market goes on from its high watermark.

    `start`, `end` and `days` are what a person gave: instants, or texts like 2025-01-31 or 2025-01-31T06:00:00Z, and
    a number of whole UTC days that end at `end`, else at the data interval's end, else at `now`, which is fixed. A
    start without an end goes as far. Next come `assets`, the ranges of the triggering asset events, together; then
    `interval`, Airflow's data interval, both ends floored to `grain`: a daily DAG that runs at 01:00 works on UTC days.

    Raises:
        WindowError: a field is unreadable, start is not before end, the window is longer than ten years, or a bound
            cannot be known; the text names the field.
    """
    if start or end or days is not None:
        return _checked(_asked(start, end, days, _anchor(interval, now)))
    if assets:
        return _checked((min(window.start for window in assets), max(window.end for window in assets)))
    if interval is None:
        return None
    first, last = as_utc(interval[0]), as_utc(interval[1])
    if grain is not None:
        first, last = floor_instant(first, grain), floor_instant(last, grain)
    # A run triggered by hand has an interval without length: it goes on from the high watermarks.
    return _checked((first, last)) if first < last else None


def _anchor(interval: tuple[datetime, datetime] | None, now: datetime | None) -> datetime | None:
    return interval[1] if interval is not None else now


def _asked(
    start: str | datetime | None, end: str | datetime | None, days: int | None, anchor: datetime | None
) -> tuple[datetime, datetime]:
    last = _instant(end, "end") if end else None
    if start:
        if days is not None:
            raise WindowError(f"days must not be given together with start; days was {days}, start was {start!r}")
        return _instant(start, "start"), last or _required(anchor, "end")
    if days is None:
        raise WindowError(f"start must be given with an end; end was {end!r}")
    if days < 1:
        raise WindowError(f"days must be at least 1; was {days}")
    last = last or floor_instant(_required(anchor, "end"), DAY)
    try:
        return last - timedelta(days=days), last
    except OverflowError:
        raise WindowError(f"days must be at most {LONGEST_WINDOW.days}; was {days}") from None


def _instant(given: str | datetime, field: str) -> datetime:
    return parse_instant(given, what=field) if isinstance(given, str) else as_utc(given)


def _required(anchor: datetime | None, field: str) -> datetime:
    if anchor is None:
        raise WindowError(f"{field} must be given: this run has no data interval to take it from")
    return as_utc(anchor)


def _checked(bounds: tuple[datetime, datetime]) -> Window:
    start, end = bounds
    if start >= end:
        raise WindowError(f"start must be before end; start was {format_instant(start)}, end was {format_instant(end)}")
    window = Window(start, end)
    if window.length > LONGEST_WINDOW:
        raise WindowError(f"a window may be at most 10 years long; {window} has {window.length.days} days: split it")
    return window
