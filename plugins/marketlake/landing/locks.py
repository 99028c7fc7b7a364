"""A lock beside a file of the landing area, so that one process at a time writes it; gone when its process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from marketlake.landing.area import storage_errors

_ASK_EVERY_SECONDS = 0.1


@contextmanager
def file_lock(path: Path, *, pause: Callable[[float], None]) -> Iterator[None]:
    """Hold `<path>.lock`, in a folder that exists; `pause` waits while another process or thread has it."""
    lock = path.with_name(path.name + ".lock")
    descriptor = _acquire(lock, pause)
    try:
        yield
    finally:
        # Removed while it is held: whoever opened it before sees that it is no longer the file of this name.
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(lock: Path, pause: Callable[[float], None]) -> int:
    while True:
        with storage_errors(lock):
            descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(descriptor, lock):
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            pause(_ASK_EVERY_SECONDS)


def _is_still(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except FileNotFoundError:
        return False
