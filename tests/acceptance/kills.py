"""Runs that are killed: at a named point, or at an instant, alone or with everything that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from marketlake.crash import VARIABLE
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import COMMAND, World

CLOCK = "2025-03-05T06:00:00Z"
SYMBOL = "BLZ/ETH"
MARKET = SyntheticMarket(11)
MOST_REPEATS = 3
# A run that was told to crash ends by the signal itself, or with 1 where the process that crashed was its child.
KILLED = (-signal.SIGKILL, 1)


_ALL = ("--dataset", "ohlcv", "--dataset", "trades", "--timeframe", "15m", "--timeframe", "1h")


def run_of(start: str, end: str, *more: str, what: tuple[str, ...] = _ALL) -> list[str]:
    """Return the command line of a run over candles and trades of one market, or over what is named."""
    return ["run", *what, "--exchange", "binance", "--symbol", SYMBOL, "--start", start, "--end", end, *more]


RUN = run_of("2025-03-02", "2025-03-05T00:00:00Z", "--build")
# What an earlier run left, where the killed one needs it: several files in a partition, for compaction to join.
EARLIER = run_of("2025-03-02", "2025-03-04")


def world_with_bad_rows(make_world: MakeWorld) -> World:
    """A world whose exchange sends candles and trades that the rules reject, so that the DLQ has something to lose."""
    world = make_world(MARKET, CLOCK)
    bad = {"symbol": SYMBOL.replace("/", ""), "start": "2025-03-04T10:00:00Z", "end": "2025-03-04T10:30:00Z"}
    world.sandbox.faults.add("unreadable_number", endpoint="klines", timeframe="15m", **bad)
    world.sandbox.faults.add("unreadable_number", endpoint="aggTrades", field="amount", **bad)
    return world


@dataclass(frozen=True)
class Cut:
    """When and how a run is killed: this share of an undisturbed run's seconds after its start, alone or all of it."""

    share: float
    whole_tree: bool


@contextmanager
def killed_at(world: World, arguments: list[str], cut: Cut, seconds: float) -> Iterator[bool]:
    """Start a command, kill it, and yield whether it was still running then; at the end nothing of it is left.

    What survives the kill of the main process alone goes on while the block runs.
    """
    process = subprocess.Popen(
        [str(COMMAND), *arguments],
        env={**os.environ, "MARKETLAKE_HOME": str(world.home), **world.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(cut.share * seconds)
        was_running = process.poll() is None
        if was_running:
            (os.killpg if cut.whole_tree else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        yield was_running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def killed_at_point(world: World, arguments: list[str], point: str) -> None:
    """Run a command that crashes at a named point, and see that it did."""
    killed = world.command(*arguments, "--json", environ={VARIABLE: point})
    assert killed.code in KILLED, f"{point} did not stop the run: {killed.err[-2000:]}"


def repeat_until_well(
    world: World, arguments: list[str], environ: Mapping[str, str] | None = None, *, most: int = MOST_REPEATS
) -> int:
    """Repeat a command until it ends well, a few times at most; return how often it ran."""
    for count in range(1, most + 1):
        done = world.command(*arguments, "--json", environ=dict(environ or {}))
        if done.code == 0:
            return count
    raise AssertionError(f"{most} repeats did not end well: {done.out[-2000:]}\n{done.err[-4000:]}")


def seconds_of_command(world: World, arguments: list[str]) -> float:
    """Run a command, expect that it ends well, and return its wall seconds."""
    started = time.monotonic()
    done = world.command(*arguments, "--json")
    assert done.code == 0, done.err[-4000:]
    return time.monotonic() - started
