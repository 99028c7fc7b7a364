"""Real Airflow, its own scheduler and web server, over a sandbox: asked, refused, repeated, killed and cleared."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from marketlake.cli.airflow_api import AirflowApi, AirflowApiError
from marketlake.cli.demo_runs import (
    DAILY,
    RUN_HOUR,
    DayRun,
    ask_for_days,
    failed_tasks,
    follow,
    wait_for_dag,
    window_of_days,
)
from marketlake.instants import format_instant
from marketlake.sandbox import Sandbox, SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import COMMAND, World, world_of

pytestmark = [pytest.mark.airflow, pytest.mark.spark, pytest.mark.timeout(1800)]

CLOCK = "2025-03-06T06:00:00Z"
DAYS = [datetime(2025, 3, day, tzinfo=UTC) for day in (2, 3, 4)]
RUNS = f"/dags/{DAILY}/dagRuns"
ONE_MORE_DAY = datetime(2025, 3, 5, tzinfo=UTC)
KILLED_AFTER = ("plan_fetches", "ingest", "load_bronze", "publish_changes", "dbt_marts", "merge_gold")
# After and before the days that the daily DAG loads.
HOURS = {"start": "2025-03-06T00:00Z", "end": "2025-03-06T05:00Z"}
EARLIER = {"start": "2025-02-27", "end": "2025-03-01"}
SMALL = {
    "MARKETLAKE__EXCHANGES__BINANCE__SYMBOLS__OHLCV": '["BTC/USDT"]',
    "MARKETLAKE__EXCHANGES__BINANCE__SYMBOLS__FUNDING_RATES": '["BTC/USDT:USDT"]',
    "MARKETLAKE__EXCHANGES__BINANCE__TIMEFRAMES": '["1m", "1h"]',
}
# The library's command, except that a step whose crash point is written down is killed there, once; and so is one that
# is to be killed after its work, before its task hears of it.
CRASHING_COMMAND = """#!/bin/sh
if [ "$1" = step ] && [ -f "{folder}/$2" ]; then
  MARKETLAKE_CRASH_AT=$(cat "{folder}/$2")
  export MARKETLAKE_CRASH_AT
  rm "{folder}/$2"
elif [ "$1" = step ] && rm "{folder}/$2.after" 2>/dev/null; then
  "{command}" "$@" >/dev/null
  kill -9 $$
fi
exec "{command}" "$@"
"""


@dataclass(frozen=True)
class Platform:
    """A running Airflow, the world it works in, and the folder of crash points that wait for their step."""

    api: AirflowApi
    world: World
    crash_points: Path

    def trigger(self, dag_id: str = DAILY, **conf: Any) -> str:
        """Ask for a run of a DAG as its form does; return the run's id."""
        answer = self.api.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(answer["dag_run_id"])

    def end_of(self, run_id: str, dag_id: str = DAILY) -> str:
        """Wait until a run ends and return its state."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        wait_until(lambda: self.api.get(path)["state"] in ("success", "failed"), what=f"the end of {run_id}")
        return str(self.api.get(path)["state"])

    def tasks_of(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a run by their task."""
        answer = self.api.get(f"{RUNS}/{run_id}/taskInstances", limit=100)
        return {str(item["task_id"]): item for item in answer["task_instances"]}

    def waiting_for_retry(self, run_id: str) -> list[str]:
        """Return the tasks of a run whose attempt failed and that wait for their next."""
        return [task_id for task_id, item in self.tasks_of(run_id).items() if item["state"] == "up_for_retry"]

    def run_of_day(self, day: datetime) -> str:
        """Return the id of the day's run, which was asked for."""
        query = {"logical_date_gte": format_instant(day + RUN_HOUR), "logical_date_lte": format_instant(day + RUN_HOUR)}
        wait_until(lambda: bool(self.api.get(RUNS, **query)["dag_runs"]), what=f"the run of {day:%Y-%m-%d}")
        return str(self.api.get(RUNS, **query)["dag_runs"][0]["dag_run_id"])

    def clear(self, run_id: str, *tasks: str) -> None:
        """Clear tasks with what is downstream of them; without names all of the run."""
        wanted = {"task_ids": tasks, "include_downstream": True} if tasks else {}
        asked = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, **wanted}
        self.api.post(f"/dags/{DAILY}/clearTaskInstances", asked)

    def log_of(self, run_id: str, task_id: str) -> str:
        """Return the log of a task's first try."""
        return json.dumps(self.api.get(f"{RUNS}/{run_id}/taskInstances/{task_id}/logs/1"))


def wait_until(check: Callable[[], bool], *, what: str, seconds: float = 600) -> None:
    """Wait until `check()` holds; fail the test naming `what` did not come."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(11)


@pytest.fixture(scope="module")
def platform(market: SyntheticMarket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Airflow as `marketlake up` starts it, on a free port, over an empty lake with its own database."""
    crash_points = tmp_path_factory.mktemp("crash_points")
    command = crash_points.parent / "marketlake-that-crashes"
    command.write_text(CRASHING_COMMAND.format(folder=crash_points, command=COMMAND))
    command.chmod(0o755)
    started = {
        "MARKETLAKE_COMMAND": str(command),
        # The days are past: of today nothing is to be scheduled, and DAGs begin paused.
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        "MARKETLAKE__ORCHESTRATION__SCHEDULER_ENABLED": "false",
        "AIRFLOW__API__PORT": str(free_port()),
    }
    with Sandbox(market, clock=CLOCK) as sandbox:
        world = world_of(sandbox, tmp_path_factory.mktemp("home"), **SMALL)
        try:
            server = world.succeed("up", environ=started)
            api = AirflowApi(server["url"], server["username"], server["password"])
            wait_for_dag(api)
            yield Platform(api, world, crash_points)
        finally:
            world.command("down")


@pytest.fixture(scope="module")
def backfill(platform: Platform) -> list[DayRun]:
    """Three days, asked for as one backfill through the REST API."""
    ask_for_days(platform.api, DAYS, at_once=2)
    return follow(platform.api, DAYS, show=lambda runs: None)


def test_a_backfill_of_three_days_through_the_api_completes(platform: Platform, backfill: list[DayRun]) -> None:
    assert [(run.state, failed_tasks(run)) for run in backfill] == [("success", [])] * 3
    candles = "select timeframe, count(*) from silver.market_data group by 1 order by 1"
    assert platform.world.rows(candles) == [("1h", 72), ("1m", 4320)]
    days = "select market_date from gold.mart_market_daily where symbol = 'BTC/USDT' order by 1"
    assert [row[0] for row in platform.world.rows(days)] == [day.date() for day in DAYS]


@pytest.mark.parametrize(
    ("field", "conf"),
    [
        ("mode", {"mode": "sometimes"}),
        ("start", {"start": "yesterday", "end": "2025-03-04"}),
        ("end", {"start": "2025-03-03", "end": 20250304}),
    ],
)
def test_a_bad_field_is_refused_at_submit_by_its_name(platform: Platform, field: str, conf: dict[str, Any]) -> None:
    with pytest.raises(AirflowApiError, match=rf"\b{field}\b") as refusal:
        platform.trigger(**conf)

    assert refusal.value.status == 400


def test_a_start_after_the_end_fails_the_first_task_at_once(platform: Platform, backfill: list[DayRun]) -> None:
    run_id = platform.trigger(start="2025-03-04", end="2025-03-03")

    assert platform.end_of(run_id) == "failed"
    first = platform.tasks_of(run_id)["plan_fetches"]
    assert (first["state"], first["try_number"]) == ("failed", 1)
    said = "start must be before end; start was 2025-03-04T00:00:00Z, end was 2025-03-03T00:00:00Z"
    assert said in platform.log_of(run_id, "plan_fetches")
    platform.clear(run_id, "plan_fetches")
    assert platform.end_of(run_id) == "failed"


def test_a_day_that_is_run_again_leaves_every_layer_as_it_was(platform: Platform, backfill: list[DayRun]) -> None:
    before = platform.world.digests()

    platform.clear(backfill[1].run_id)
    assert platform.end_of(backfill[1].run_id) == "success"
    forced = platform.trigger(start="2025-03-03", end="2025-03-04", mode="force")
    assert platform.end_of(forced) == "success"

    assert platform.world.digests() == before


def test_a_backward_backfill_from_the_command_line_may_process_again_what_succeeded(
    platform: Platform, backfill: list[DayRun]
) -> None:
    before = platform.world.digests()
    first, last = (format_instant(day + RUN_HOUR) for day in DAYS[:2])
    asked = ("--dag-id", DAILY, "--from-date", first, "--to-date", last, "--max-active-runs", "2")

    done = platform.world.command(
        "airflow", "backfill", "create", *asked, "--run-backwards", "--reprocess-behavior", "completed"
    )

    assert done.code == 0, done.err
    assert [platform.end_of(run.run_id) for run in backfill[:2]] == ["success"] * 2
    [asked_for] = platform.api.get("/backfills", dag_id=DAILY, order_by="-id", limit=1)["backfills"]
    assert asked_for["reprocess_behavior"] == "completed"
    assert all(platform.tasks_of(run.run_id)["plan_fetches"]["try_number"] > 1 for run in backfill[:2])
    assert platform.world.digests() == before


def test_a_run_killed_after_each_step_and_cleared_leaves_what_an_undisturbed_one_leaves(
    platform: Platform, backfill: list[DayRun], make_world: MakeWorld, market: SyntheticMarket
) -> None:
    (platform.crash_points / "load_bronze").write_text("load.between_bronze_and_ledger")
    for step in KILLED_AFTER:
        (platform.crash_points / f"{step}.after").touch()
    ask_for_days(platform.api, [ONE_MORE_DAY], at_once=1)

    killed = platform.run_of_day(ONE_MORE_DAY)
    for _ in range(len(KILLED_AFTER) + 1):
        wait_until(lambda: bool(platform.waiting_for_retry(killed)), what="a killed task")
        [task_id] = platform.waiting_for_retry(killed)
        platform.clear(killed, task_id)
    [run] = follow(platform.api, [ONE_MORE_DAY], show=lambda runs: None)

    assert list(platform.crash_points.iterdir()) == []
    assert (run.state, failed_tasks(run)) == ("success", [])
    assert platform.world.digests() == _undisturbed(make_world(market, CLOCK, **SMALL)).digests()


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        ("bronze_ohlcv", HOURS),
        ("bronze_funding_rates", HOURS),
        ("backfill_market_data", {**EARLIER, "symbols": ["BTC/USDT"], "timeframes": ["1h"], "datasets": ["ohlcv"]}),
        ("backfill_market_data", {**EARLIER, "symbols": ["BTC/USDT:USDT"], "datasets": ["funding_rates"]}),
    ],
)
def test_each_other_dag_loads_its_window_and_run_again_changes_nothing(
    platform: Platform, backfill: list[DayRun], dag_id: str, conf: dict[str, Any]
) -> None:
    platform.api.patch(f"/dags/{dag_id}", {"is_paused": False})
    empty = platform.world.digests()

    assert platform.end_of(platform.trigger(dag_id, **conf), dag_id) == "success"
    once = platform.world.digests()
    assert platform.end_of(platform.trigger(dag_id, **conf), dag_id) == "success"

    assert once != empty
    assert platform.world.digests() == once


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _undisturbed(world: World) -> World:
    """The same days by the command line, one run after the other."""
    for start in [*DAYS, ONE_MORE_DAY]:
        window = window_of_days([start])
        bounds = ["--start", format_instant(window.start), "--end", format_instant(window.end)]
        world.succeed("run", *bounds, "--build")
    return world
