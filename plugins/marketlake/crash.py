"""Named crash points: places where a test kills the process as hard as a power cut would.

`MARKETLAKE_CRASH_AT=load.between_dlq_and_bronze` kills at the first pass of that point, `…:3` at the third. Unset, a
crash point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "MARKETLAKE_CRASH_AT"
_passes: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL when the variable names this point and pass."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    point, _, count = wanted.partition(":")
    if point != name:
        return
    _passes[name] += 1
    if _passes[name] >= int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
