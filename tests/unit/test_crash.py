"""Tests for ``marketlake.crash``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
PROGRAM = (
    "from marketlake.crash import crash_point as c\nfor n in '1234':\n c('here'); c('there'); print(n, flush=True)"
)


@pytest.mark.parametrize(
    ("wanted", "printed", "code"),
    [
        ("here", "", -signal.SIGKILL),
        ("here:3", "12", -signal.SIGKILL),
        ("elsewhere", "1234", 0),
        ("", "1234", 0),
    ],
)
def test_the_process_dies_at_the_named_point_and_pass(wanted: str, printed: str, code: int) -> None:
    environ = {**os.environ, "PYTHONPATH": str(PLUGINS), "MARKETLAKE_CRASH_AT": wanted}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60)
    assert ("".join(done.stdout.split()), done.returncode) == (printed, code)
