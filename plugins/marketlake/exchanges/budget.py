"""The request budget as the clients see it, and one that lives in this process for those without a ledger."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from typing import Protocol

from marketlake.errors import UnavailableError, closed_source
from marketlake.instants import Clock, OffsetClock

_WINDOW_SECONDS = 60.0


class RequestBudget(Protocol):
    """Weight that may be spent per minute, for each scope of an exchange."""

    def draw(self, scope: str, weight: int) -> float:
        """Take the weight and return 0, or return the seconds to wait before asking again.

        Raises:
            UnavailableError: the source is closed.
        """
        ...

    def report_used(self, scope: str, used: int) -> None:
        """Take over the weight that the exchange says was used in this minute."""
        ...

    def set_limit(self, scope: str, limit: int) -> None:
        """Take over the exchange's published limit per minute."""
        ...

    def block_until(self, scope: str, instant: datetime, reason: str) -> None:
        """Let nobody draw from the scope before the instant."""
        ...

    def close_source(self, scope: str, instant: datetime, reason: str) -> None:
        """Let every draw before the instant fail at once: the source refuses, so waiting for it is of no use."""
        ...


class LocalBudget:
    """A budget of this process alone: for a clock reading, a command without a lake, or a test."""

    def __init__(self, *, ceiling: float = 0.8, clock: Clock | None = None) -> None:
        self._ceiling = ceiling
        self._clock = clock or OffsetClock()
        self._lock = threading.Lock()
        self._limits: dict[str, int] = {}
        self._used: dict[str, tuple[int, int]] = {}
        self._blocked: dict[str, datetime] = {}
        self._closed: dict[str, tuple[datetime, str]] = {}

    def draw(self, scope: str, weight: int) -> float:
        """Take the weight and return 0, or return the seconds to wait before asking again; raises as the protocol."""
        with self._lock:
            now = self._clock.now()
            closed_until, reason = self._closed.get(scope, (now, ""))
            if closed_until > now:
                raise UnavailableError(closed_source(scope, (closed_until - now).total_seconds(), reason))
            blocked = self._blocked.get(scope)
            if blocked is not None and blocked > now:
                return (blocked - now).total_seconds()
            minute, used = self._minute(scope)
            limit = self._limits.get(scope)
            if limit is not None and used > 0 and used + weight > limit * self._ceiling:
                return _WINDOW_SECONDS - time.time() % _WINDOW_SECONDS
            self._used[scope] = (minute, used + weight)
            return 0.0

    def report_used(self, scope: str, used: int) -> None:
        """Take over the weight that the exchange says was used in this minute."""
        with self._lock:
            minute, mine = self._minute(scope)
            self._used[scope] = (minute, max(mine, used))

    def set_limit(self, scope: str, limit: int) -> None:
        """Take over the exchange's published limit per minute."""
        with self._lock:
            self._limits[scope] = limit

    def block_until(self, scope: str, instant: datetime, reason: str) -> None:
        """Let nobody draw from the scope before the instant."""
        with self._lock:
            self._blocked[scope] = max(instant, self._blocked.get(scope, instant))

    def close_source(self, scope: str, instant: datetime, reason: str) -> None:
        """Let every draw before the instant fail at once."""
        with self._lock:
            self._closed[scope] = (instant, reason)

    def _minute(self, scope: str) -> tuple[int, int]:
        minute = int(time.time() // _WINDOW_SECONDS)
        then, used = self._used.get(scope, (minute, 0))
        return (minute, used) if then == minute else (minute, 0)
