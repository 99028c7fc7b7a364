"""Two backfills, a backfill run and a command line on one market at once, by the real scheduler, killed at random."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from marketlake.cli.airflow_api import AirflowApi
from marketlake.cli.demo_runs import DAILY, RUN_HOUR, ask_for_days, wait_for_dag, window_of_days
from marketlake.instants import format_instant, parse_instant
from marketlake.sandbox import Sandbox, SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.crowds import BY_REQUEST, assert_same, layers_of
from tests.acceptance.kills import MOST_REPEATS, repeat_until_well
from tests.acceptance.test_real_scheduler import CLOCK, DAYS, SMALL, free_port
from tests.world import World, world_of

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.timeout(3600)]

MARKET = SyntheticMarket(11)
KILLS = 12
SECONDS_BETWEEN_KILLS = (8.0, 25.0)
HOURLY, ON_REQUEST = "bronze_ohlcv", "backfill_market_data"
HOURS = (parse_instant("2025-03-05T20:00:00Z"), parse_instant("2025-03-05T23:00:00Z"))
REQUESTED = ("2025-03-02", "2025-03-05")
BY_HAND = ("run", "--dataset", "ohlcv", "--symbol", "BTC/USDT", "--timeframe", "1m", "--timeframe", "1h",
           "--start", "2025-03-03T12:00:00Z", "--end", "2025-03-05T12:00:00Z", "--build")  # fmt: skip
# Who asks first decides from which source a range comes, and so which number its rows have: what they say is the same.
BY_TURN = BY_REQUEST | {"source", "revision"}
ENDED = ("success", "failed")


@dataclass(eq=False)
class Killer(threading.Thread):
    """Kills one of the world's working processes at random, so many times; counts those that it met."""

    home: Path
    seed: int
    met: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        rng = random.Random(f"airflow {self.seed}")
        while len(self.met) < KILLS and not self.over.wait(rng.uniform(*SECONDS_BETWEEN_KILLS)):
            victims = self.working()
            if not victims:
                continue
            victim = rng.choice(victims)
            with suppress(ProcessLookupError, psutil.Error):
                what = " ".join(victim.cmdline())
                os.kill(victim.pid, signal.SIGKILL)
                self.met.append(what)

    def working(self) -> list[psutil.Process]:
        """Return this lake's processes that do a step, run a Spark job, dbt, or a run of the command line."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if _is_work(line) and process.environ().get("MARKETLAKE_HOME") == str(self.home):
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)


def _is_work(line: str) -> bool:
    works = (
        "marketlake.cli step ",
        "marketlake.cli run ",
        "spark_jobs/bronze/load.py",
        "dbt_project/session.py",
        "airflow worker -- ",
    )
    return any(text in line for text in works) and "Executor" not in line


@dataclass(frozen=True)
class Scheduler:
    """A running Airflow over a world."""

    api: AirflowApi
    world: World

    def backfill(self, dag_id: str, first: str, last: str, at_once: int) -> None:
        asked = {"dag_id": dag_id, "from_date": first, "to_date": last, "max_active_runs": at_once}
        self.api.post("/backfills", asked | {"reprocess_behavior": "failed"})

    def unfinished(self, dag_ids: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return the runs that go on; what was killed is cleared instead of waiting minutes for its next try."""
        going = []
        for dag_id in dag_ids:
            for run in self.api.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]:
                path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"
                tasks = self.api.get(f"{path}/taskInstances", limit=100)["task_instances"]
                wanted = ("up_for_retry",) if run["state"] not in ENDED else ("failed", "upstream_failed")
                stopped = sorted({str(task["task_id"]) for task in tasks if task["state"] in wanted})
                if stopped:
                    asked = {"dry_run": False, "only_failed": False, "dag_run_id": run["dag_run_id"],
                             "task_ids": stopped, "include_downstream": True}  # fmt: skip
                    self.api.post(f"/dags/{dag_id}/clearTaskInstances", asked)
                if run["state"] != "success" or stopped:
                    going.append(run)
        return going

    def wait(self, dag_ids: tuple[str, ...], *, runs: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            going = self.unfinished(dag_ids)
            made = sum(len(self.api.get(f"/dags/{dag}/dagRuns", limit=100)["dag_runs"]) for dag in dag_ids)
            if not going and made >= runs:
                return
            assert time.monotonic() < deadline, [(run["dag_id"], run["dag_run_id"], run["state"]) for run in going]
            time.sleep(3)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    """Airflow as `marketlake up` starts it, on a free port, over an empty lake with its own database."""
    started = {
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        "MARKETLAKE__ORCHESTRATION__SCHEDULER_ENABLED": "false",
        "AIRFLOW__API__PORT": str(free_port()),
        # A task whose own process is killed says nothing; it is missed after so many seconds.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    }
    with Sandbox(MARKET, clock=CLOCK) as sandbox:
        world = world_of(sandbox, tmp_path_factory.mktemp("home"), **SMALL)
        sandbox.clock.set(CLOCK, frozen=True)
        try:
            server = world.succeed("up", environ=started)
            api = AirflowApi(server["url"], server["username"], server["password"])
            wait_for_dag(api)
            yield Scheduler(api, world)
        finally:
            world.command("down")


def test_all_at_once_and_killed_at_random_leaves_what_one_by_one_does(
    scheduler: Scheduler, make_world: MakeWorld, record_property: Callable[[str, object], None]
) -> None:
    world, api = scheduler.world, scheduler.api
    killer = Killer(world.home, seed=1)

    ask_for_days(api, DAYS, at_once=3)
    for dag_id in (HOURLY, ON_REQUEST):
        api.patch(f"/dags/{dag_id}", {"is_paused": False})
    scheduler.backfill(HOURLY, format_instant(HOURS[0]), format_instant(HOURS[1]), at_once=1)
    conf = {"start": REQUESTED[0], "end": REQUESTED[1], "symbols": ["BTC/USDT"], "timeframes": ["1m", "1h"],
            "datasets": ["ohlcv"]}  # fmt: skip
    api.post(f"/dags/{ON_REQUEST}/dagRuns", {"logical_date": None, "conf": conf})
    killer.start()
    hours = (HOURS[1] - HOURS[0]) // timedelta(hours=1) + 1
    try:
        with ThreadPoolExecutor(1) as pool:
            by_hand = pool.submit(repeat_until_well, world, list(BY_HAND), most=MOST_REPEATS + KILLS)
            scheduler.wait((DAILY, HOURLY, ON_REQUEST), runs=len(DAYS) + hours + 1, seconds=2400)
            by_hand.result()
    finally:
        killer.over.set()
        killer.join()
    world.succeed("step", "build")

    record_property("kills", len(killer.met))
    assert len(killer.met) >= KILLS // 2, killer.met
    assert_same(values_of(world), values_of(one_by_one(make_world)))


def one_by_one(make_world: MakeWorld) -> World:
    """The same windows by the command line, one after the other."""
    world = make_world(MARKET, CLOCK, **SMALL)
    world.sandbox.clock.set(CLOCK, frozen=True)
    days = window_of_days(DAYS)
    world.succeed("run", "--start", format_instant(days.start), "--end", format_instant(days.end), "--build")
    reach = timedelta(days=1)
    hours = ("--start", format_instant(HOURS[0] - reach), "--end", format_instant(HOURS[1] + RUN_HOUR))
    world.succeed("run", "--dataset", "ohlcv", *hours)
    world.succeed(*BY_HAND)
    world.succeed("step", "build")
    return world


def values_of(world: World) -> dict[str, Any]:
    """Return what the layers say, whichever source and request it came from, and what is left undone."""
    layers = layers_of(world, without=BY_TURN)
    columns = "symbol, timeframe, open_time, open, high, low, close, volume, trade_count"
    views = " union all ".join(f"select {columns} from raw_market_data_{name}" for name in ("1m", "1h"))
    seen = world.succeed("sql", f"select md5(string_agg(r::varchar, ';' order by r)) as digest, count(*) as n from"
                                f" (select row({columns}) as r from ({views}))")  # fmt: skip
    undone = (
        "select (select count(*) from ops.manifests where state <> 'loaded'),"
        " (select count(*) from ops.changes where publication_id is null),"
        " (select count(*) from ops.builds where state = 'open'),"
        " (select count(*) from ops.coverage where state in ('failed', 'pending'))"
    )
    return {**layers, "lake": seen, "undone": world.rows(undone)}
