"""Bad input end to end: one clear error, and the next run makes good what it cost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from marketlake.sandbox import Sandbox, SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import COMMAND, Done, World, world_of

pytestmark = [pytest.mark.spark]

CLOCK = "2025-03-06T06:00:00Z"
# Whoever asked for an archive in vain asks for it again on the next day.
NEXT_DAY = "2025-03-07T07:00:00Z"
DAY = ("--start", "2025-03-03", "--end", "2025-03-04")
RUN = ("run", "--dataset", "ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT", "--timeframe", "1h", *DAY)


@dataclass(frozen=True)
class Case:
    """What is wrong, and what the one error says; `arguments` go with both runs."""

    fault: dict[str, Any] | None
    says: str
    environ: dict[str, str]
    arguments: tuple[str, ...] = ()


CASES = {
    "wrong checksum": Case({"name": "wrong_checksum"}, "the exchange publishes", {}),
    "damaged zip": Case({"name": "damaged_zip"}, "is a damaged zip", {}),
    "html instead of json": Case(
        {"name": "html_ok", "endpoint": "klines"}, "a maintenance page may have answered", {}, ("--source", "rest")
    ),
    "java of a wrong version": Case(None, "is Java 8, and Spark needs Java 17", {"JAVA_HOME": ""}),
}


@pytest.fixture(scope="module")
def undisturbed(make_world: MakeWorld) -> dict[tuple[str, ...], Any]:
    """What runs with nothing in their way leave in bronze, by their arguments."""
    found = {}
    for arguments in {case.arguments for case in CASES.values()}:
        world = make_world(SyntheticMarket(7), CLOCK)
        assert world.command(*RUN, *arguments).code == 0
        found[arguments] = bronze(world)
    return found


def bronze(world: World) -> dict[str, Any]:
    return {name: digest for name, digest in world.digests().items() if "ohlcv" in name and "dlq" not in name}


def assert_one_clear_error(done: Done, says: str) -> None:
    assert done.code == 1, done.err[-3000:]
    assert says in done.err
    assert "Traceback" not in done.err + done.out


def old_java(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    (folder / "release").write_text('JAVA_VERSION="8"\n')
    return folder


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_clear_error_and_the_next_run_makes_it_good(
    make_world: MakeWorld, undisturbed: dict[tuple[str, ...], Any], tmp_path: Path, name: str
) -> None:
    case, world = CASES[name], make_world(SyntheticMarket(7), CLOCK)
    environ = {key: str(old_java(tmp_path / "java")) for key in case.environ}
    if case.fault:
        world.sandbox.faults.add(**case.fault)

    assert_one_clear_error(world.command(*RUN, *case.arguments, environ=environ), case.says)

    world.sandbox.faults.clear()
    world.sandbox.set_clock(NEXT_DAY)
    again = world.command(*RUN, *case.arguments)
    assert again.code == 0, again.err[-3000:]
    assert bronze(world) == undisturbed[case.arguments]


@pytest.mark.parametrize("fault", [{"name": "missing_archive"}, {"name": "unit_switch", "unit": "s"}])
def test_an_archive_that_is_missing_or_held_costs_nothing_because_rest_serves_its_day(
    make_world: MakeWorld, fault: dict[str, str]
) -> None:
    world = make_world(SyntheticMarket(7), CLOCK)
    world.sandbox.faults.add(**fault, start="2025-03-03", end="2025-03-04")

    done = world.command(*RUN)

    assert done.code == 0, done.err[-3000:]
    assert world.rows("select source, count(*) from bronze.ohlcv group by 1") == [("rest", 24)]
    assert world.rows("select distinct state from ops.coverage where state <> 'not_listed'") == [("present",)]


def test_a_database_that_is_killed_during_the_fetch_is_named_and_started_by_the_next_run(tmp_path: Path) -> None:
    with Sandbox(SyntheticMarket(7), clock=CLOCK) as sandbox:
        world = world_of(sandbox, tmp_path / "home", MARKETLAKE__DATABASE__EMBEDDED="true")
        try:
            sandbox.faults.add("slow", endpoint="klines", seconds=5)
            killed = _killed_during_the_fetch(world)
            assert_one_clear_error(killed, "database")
            sandbox.faults.clear()

            again = world.command(*RUN, "--source", "rest")

            assert again.code == 0, again.err[-3000:]
            assert world.rows("select source, count(*) from bronze.ohlcv group by 1") == [("rest", 24)]
        finally:
            world.command("down")


def _killed_during_the_fetch(world: World) -> Done:
    process = subprocess.Popen(
        [str(COMMAND), *RUN, "--source", "rest"],
        env={**os.environ, "MARKETLAKE_HOME": str(world.home), **world.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not world.sandbox.requests("/api/v3/time") or not _has_asked(world):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = int((world.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)  # at once, without a shutdown: what the database had not written is recovered
    out, err = process.communicate(timeout=300)
    return Done(process.returncode, out, err)


def _has_asked(world: World) -> bool:
    """The clock is asked at the run's start and again by the fetch, which then waits five seconds for its candles."""
    return sum(entry.path == "/api/v3/time" for entry in world.sandbox.requests()) >= 2
