"""Keeps the archives made last, because a client asks for the checksum and for the file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from marketlake.sandbox.market import ArchivePath

SHELF_BYTES = 256 * 2**20


class Shelf:
    """The archives of a market, kept up to a number of bytes, oldest use out first."""

    def __init__(self, make: Callable[[ArchivePath], bytes | None], *, most_bytes: int = SHELF_BYTES) -> None:
        self._make = make
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def archive(self, path: ArchivePath) -> bytes | None:
        """Return the zip of a closed period, or None where there is none."""
        with self._lock:
            if path.path in self._kept:
                self._kept.move_to_end(path.path)
                return self._kept[path.path]
        content = self._make(path)
        if content is not None:
            with self._lock:
                self._bytes += len(content) - len(self._kept.get(path.path, b""))
                self._kept[path.path] = content
                while self._bytes > self._most_bytes and len(self._kept) > 1:
                    self._bytes -= len(self._kept.popitem(last=False)[1])
        return content
