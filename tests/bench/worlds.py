"""A lake and a sandbox exchange of its own for the benchmark, gone at its end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marketlake.embedded_postgres import stop
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.spark_submit import spark_submit_command
from tests.bench.figures import seconds_of
from tests.world import World, world_of

CLOCK = "2025-03-04T12:00:00Z"
FREQTRADE = Path(__file__).resolve().parents[2] / ".venv" / "freqtrade" / "bin" / "python"


@contextmanager
def bench_world() -> Iterator[World]:
    """Yield a new world with an embedded database; both go when it ends."""
    with (
        tempfile.TemporaryDirectory(prefix="marketlake-bench-") as folder,
        Sandbox(SyntheticMarket(1), clock=CLOCK) as s,
    ):
        home = Path(folder) / "home"
        try:
            yield world_of(s, home)
        finally:
            stop(home)


def spark_start_seconds(world: World) -> float:
    """Return the wall seconds of one bare Spark start, median of three."""
    command, environ = spark_submit_command(world.settings, "tests/bench/bare_spark.py")
    return seconds_of(lambda: subprocess.run(command, env=environ, check=True, capture_output=True), times=3)


def step_seconds(summary: dict[str, object], step: str) -> float:
    """Return the seconds that a step of a run took, of its `--json` document."""
    steps = summary["steps"]
    assert isinstance(steps, list)
    return float(sum(item["seconds"] for item in steps if item["step"] == step))
