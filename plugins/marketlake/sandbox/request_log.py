"""The log of what was asked: every request but those to the control endpoints, newest last."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

_KEPT = 200_000


@dataclass(frozen=True)
class LoggedRequest:
    """One request and its answer; `instant` is the sandbox's clock, ISO 8601, `weight` what it was charged."""

    instant: str
    method: str
    path: str
    query: str
    status: int
    weight: int
    bytes: int
    faults: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the entry as JSON."""
        return asdict(self)


class RequestLog:
    """The last 200,000 requests."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def add(self, entry: LoggedRequest) -> None:
        """Append a request."""
        with self._lock:
            self._entries.append(entry)

    def entries(self, prefix: str = "") -> list[LoggedRequest]:
        """Return the requests whose path begins with the prefix, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if entry.path.startswith(prefix)]

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._entries.clear()
