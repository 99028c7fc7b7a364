"""A circuit breaker: after failures in a row, or a refusal that names a pause, a source is left alone for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from marketlake.exchanges.failures import SourceClosedError, SourceDisabledError

FAILURES_TO_OPEN = 5
OPEN_SECONDS = 60.0


class CircuitBreaker:
    """The breaker of one source in this process; safe to share between threads."""

    def __init__(self, source: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._closed_until = 0.0
        self._reason = ""
        self._is_disabled = False

    def check(self) -> None:
        """Let a request pass, or refuse it while the source is left alone.

        Raises:
            SourceClosedError: the pause is not over.
            SourceDisabledError: the source serves nobody from here.
        """
        with self._lock:
            if self._is_disabled:
                raise SourceDisabledError(f"{self._source} is disabled: {self._reason}")
            left = self._closed_until - self._monotonic()
            if left > 0:
                raise SourceClosedError(
                    f"{self._source} is not asked for {left:.0f} s more; last answer: {self._reason}"
                )

    def succeeded(self) -> None:
        """Note a good answer."""
        with self._lock:
            self._failures = 0

    def failed(self, reason: str) -> None:
        """Note a request that failed after its retries; the fifth in a row opens the breaker for a minute."""
        with self._lock:
            self._failures += 1
            self._reason = reason
            if self._failures >= FAILURES_TO_OPEN:
                self._closed_until = self._monotonic() + OPEN_SECONDS

    def close_source(self, seconds: float, reason: str) -> None:
        """Leave the source alone for so many seconds."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._monotonic() + seconds)
            self._reason = reason

    def disable(self, reason: str) -> None:
        """Ask the source no more in this process."""
        with self._lock:
            self._is_disabled, self._reason = True, reason
