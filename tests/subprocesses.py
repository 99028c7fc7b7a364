"""The environment of a Python process that a test starts on the library, from the repository's root as tests run.

Another working directory would give its files other relative names in the figure of coverage.
"""

from __future__ import annotations

import os
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"


def with_library(**more: str) -> dict[str, str]:
    """Return this process's environment with the library on Python's path."""
    return {**os.environ, "PYTHONPATH": str(PLUGINS), **more}
