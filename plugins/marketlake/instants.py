"""Instants, windows and clocks: everything is UTC, zone-aware, in microseconds; windows are half-open."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from marketlake.errors import WindowError

EARLIEST = datetime(2009, 1, 3, tzinfo=UTC)
LONGEST_WINDOW = timedelta(days=3653)
DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_instant(text: str, *, what: str = "instant") -> datetime:
    """Return the UTC instant of an ISO 8601 text; a bare date is midnight UTC, a bare time of day is refused.

    Raises:
        WindowError: the text is unreadable, names no zone, or lies before 2009-01-03 (when the first market began).
    """
    readable = f"{what} must be a date like 2025-01-31 or an instant like 2025-01-31T06:00:00Z"
    try:
        instant = datetime.fromisoformat(text.strip())
    except (ValueError, AttributeError):
        raise WindowError(f"{readable}; was {text!r}") from None
    if instant.tzinfo is None:
        if not _DATE.fullmatch(text.strip()):
            raise WindowError(f"{readable}; {text!r} names no zone, add Z for UTC")
        instant = instant.replace(tzinfo=UTC)
    try:
        instant = instant.astimezone(UTC)
    except OverflowError:
        raise WindowError(f"{readable}; was {text!r}") from None
    if instant < EARLIEST:
        raise WindowError(f"{what} must not be before 2009-01-03; was {text!r}")
    return instant


def format_instant(instant: datetime) -> str:
    """Return the shortest ISO text that keeps every digit: `2025-01-31T06:00:00Z`, with microseconds where needed."""
    return as_utc(instant).isoformat().replace("+00:00", "Z")


def as_utc(instant: datetime) -> datetime:
    """Return the instant in UTC.

    Raises:
        ValueError: the datetime is naive.
    """
    if instant.tzinfo is None:
        raise ValueError(f"instant must be zone-aware; was {instant.isoformat()}")
    return instant.astimezone(UTC)


def floor_instant(instant: datetime, step: timedelta) -> datetime:
    """Return the last multiple of `step` since 1970 at or before the instant."""
    return instant - (as_utc(instant) - _EPOCH) % step


def ceil_instant(instant: datetime, step: timedelta) -> datetime:
    """Return the first multiple of `step` since 1970 at or after the instant."""
    floored = floor_instant(instant, step)
    return floored if floored == instant else floored + step


def from_epoch_ms(milliseconds: int) -> datetime:
    """Return the instant of an exchange's millisecond count, exactly."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_epoch_ms(instant: datetime) -> int:
    """Return whole milliseconds since 1970, rounded down."""
    return (as_utc(instant) - _EPOCH) // timedelta(milliseconds=1)


def to_epoch_us(instant: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (as_utc(instant) - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, order=True)
class Window:
    """A half-open range `[start, end)` of UTC instants."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if as_utc(self.start) >= as_utc(self.end):
            raise WindowError(
                f"start must be before end; start was {format_instant(self.start)}, end was {format_instant(self.end)}"
            )

    def __str__(self) -> str:
        return f"{format_instant(self.start)} … {format_instant(self.end)}"

    @property
    def length(self) -> timedelta:
        """The time from start to end."""
        return self.end - self.start

    def overlap(self, other: Window) -> Window | None:
        """Return the common part, or None where there is none."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Window(start, end) if start < end else None

    def minus(self, others: list[Window]) -> list[Window]:
        """Return what is left of this window without the others, in order."""
        left, at = [], self.start
        for other in sorted(others):
            if other.end <= at or other.start >= self.end:
                continue
            if other.start > at:
                left.append(Window(at, other.start))
            at = max(at, other.end)
        if at < self.end:
            left.append(Window(at, self.end))
        return left


def parse_window(start: str, end: str) -> Window:
    """Return the window of two texts.

    Raises:
        WindowError: unreadable, start not before end, or longer than ten years.
    """
    window = Window(parse_instant(start, what="start"), parse_instant(end, what="end"))
    if window.length > LONGEST_WINDOW:
        raise WindowError(f"a window may be at most 10 years long; {window} has {window.length.days} days: split it")
    return window


class Clock(Protocol):
    """Tells what time it is in the world that a run works on."""

    def now(self) -> datetime:
        """Return the present instant, UTC."""
        ...


@dataclass(frozen=True)
class OffsetClock:
    """The machine's clock plus a fixed offset, read once at a run's start (design, rule 7)."""

    offset: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Return machine time plus the offset, UTC."""
        return datetime.now(UTC) + self.offset
