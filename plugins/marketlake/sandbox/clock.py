"""The exchange's clock: the machine's, or one that was set and runs on from there or stands still."""

from __future__ import annotations

import threading
import time
from datetime import datetime

from marketlake.instants import from_epoch_ms, parse_instant, to_epoch_ms


class SandboxClock:
    """Tells the exchange's time; it can be set while it is read from other threads."""

    def __init__(self, start: datetime | str | None = None, *, frozen: bool = False) -> None:
        self._lock = threading.Lock()
        self._read_at = time.monotonic_ns()
        self._start_ns = time.time_ns()
        self._frozen = False
        self.set(start, frozen=frozen)

    @property
    def is_frozen(self) -> bool:
        """Whether the clock stands still."""
        return self._frozen

    def set(self, instant: datetime | str | None = None, *, frozen: bool | None = None) -> None:
        """Set the clock, or with no instant leave its time as it is; `frozen` stops it or lets it run.

        Raises:
            WindowError: the instant is unreadable.
        """
        wanted = parse_instant(instant, what="clock") if isinstance(instant, str) else instant
        with self._lock:
            start = self._now_ns() if wanted is None else to_epoch_ms(wanted) * 1_000_000
            self._start_ns, self._read_at = start, time.monotonic_ns()
            self._frozen = self._frozen if frozen is None else frozen

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        with self._lock:
            return self._now_ns() // 1_000_000

    def now(self) -> datetime:
        """Return the instant, UTC."""
        return from_epoch_ms(self.now_ms())

    def _now_ns(self) -> int:
        return self._start_ns if self._frozen else self._start_ns + time.monotonic_ns() - self._read_at
