"""The demo's three daily runs: asked for as an Airflow backfill, followed to their end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from marketlake.cli.airflow_api import AirflowApi, AirflowApiError
from marketlake.errors import SetupError
from marketlake.instants import DAY, Window, floor_instant, format_instant, parse_instant

DAILY = "daily_market_data_pipeline"
# The daily run of a day starts at one o'clock after it.
RUN_HOUR = timedelta(hours=1)
DONE = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
# Tasks in the order of the pipeline; what Airflow adds comes after them.
TASKS = (
    "plan_fetches",
    "ingest_ohlcv",
    "ingest_funding_rates",
    "ingest_trades",
    "load_bronze",
    "validate_data_quality",
    "publish_changes",
    "dbt_staging",
    "dbt_marts",
    "dbt_test",
    "merge_gold",
    "optimize_delta_tables",
    "refresh_grafana_dashboards",
    "check_run",
)
# Longer than a scheduler on a busy machine goes without a heartbeat.
SILENT_SECONDS = 120.0
_ASK_HEALTH_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_CONFLICT = 409
_DAG_SECONDS = 120.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskState:
    """One task of one day: its state and how long it ran."""

    state: str
    seconds: float | None = None
    try_number: int = 1


@dataclass(frozen=True)
class DayRun:
    """The daily run of one day, as Airflow sees it."""

    day: datetime
    run_id: str = ""
    state: str = "waiting"
    tasks: dict[str, TaskState] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether it ended, well or not."""
        return self.state in ("success", "failed")


def last_days(now: datetime, count: int) -> list[datetime]:
    """Return the newest days whose daily run is due at `now`, oldest first."""
    last = floor_instant(now - RUN_HOUR, DAY) - DAY
    return [last - DAY * back for back in reversed(range(count))]


def window_of_days(days: Sequence[datetime]) -> Window:
    """Return the window that the days make together."""
    return Window(days[0], days[-1] + DAY)


def wait_for_dag(api: AirflowApi) -> None:
    """Wait until Airflow has read the daily DAG.

    Raises:
        SetupError: it did not; the text has what it said of the file.
    """
    deadline = time.monotonic() + _DAG_SECONDS
    while not api.is_known(DAILY):
        errors = api.get("/importErrors").get("import_errors", [])
        if errors or time.monotonic() > deadline:
            said = "\n".join(str(error.get("stack_trace", ""))[-500:] for error in errors[:1])
            raise SetupError(f"Airflow does not know the DAG {DAILY}: {said or 'it has not read its file in 2 min'}")
        time.sleep(0.5)


def ask_for_days(api: AirflowApi, days: Sequence[datetime], *, at_once: int) -> None:
    """Ask Airflow for the daily runs of the days that did not succeed yet, and let it go on.

    Airflow does one backfill of a DAG at a time. One that is under way over these days is followed instead, as after an
    interrupted demo; one over other days is waited for.

    Raises:
        SetupError: Airflow's scheduler stopped, or the backfill that is in the way is paused.
    """
    request = {
        "dag_id": DAILY,
        "from_date": format_instant(days[0] + RUN_HOUR),
        "to_date": format_instant(days[-1] + RUN_HOUR),
        "reprocess_behavior": "failed",
        "max_active_runs": at_once,
    }
    while not _post(api, request):
        active = active_backfill(api)
        # Paused until here, so that the scheduler does not start its own run of the last day beside ours.
        api.patch(f"/dags/{DAILY}", {"is_paused": False})
        if active is None:
            time.sleep(_PAUSE_SECONDS)
            continue
        if parse_instant(active["from_date"]) <= days[0] + RUN_HOUR and (
            days[-1] + RUN_HOUR <= parse_instant(active["to_date"])
        ):
            return
        _wait_for_backfill(api, active)
    api.patch(f"/dags/{DAILY}", {"is_paused": False})


def active_backfill(api: AirflowApi) -> dict[str, Any] | None:
    """Return the backfill of the daily DAG that is under way, or None."""
    answer = api.get("/backfills", dag_id=DAILY, order_by="-id", limit=20)
    return next((dict(item) for item in answer["backfills"] if item["completed_at"] is None), None)


class SchedulerWatch:
    """Looks at the scheduler's heartbeat every few seconds; one that stays silent would let us wait for ever."""

    def __init__(self, api: AirflowApi, *, patience_seconds: float = SILENT_SECONDS) -> None:
        self._api = api
        self._patience = patience_seconds
        self._heard_at = self._asked_at = time.monotonic()

    def check(self) -> None:
        """Do nothing while the scheduler is alive, or was a short while ago.

        Raises:
            SetupError: it was not for longer than the patience.
        """
        now = time.monotonic()
        if now - self._asked_at < min(_ASK_HEALTH_SECONDS, self._patience):
            return
        self._asked_at = now
        state = self._api.health().get("scheduler") or "not reachable"
        if state == "healthy":
            self._heard_at = now
        elif now - self._heard_at > self._patience:
            raise SetupError(
                f"Airflow's scheduler is {state} for {now - self._heard_at:.0f} s, so its runs do not go on; its log is"
                " <MARKETLAKE_HOME>/logs/airflow/scheduler.log. Run make down, then make demo: it goes on from there"
            )


def _post(api: AirflowApi, request: dict[str, Any]) -> bool:
    """Ask for the backfill; return False where another one is under way."""
    try:
        api.post("/backfills", request)
    except AirflowApiError as error:
        if error.status != _CONFLICT:
            raise
        return False
    return True


def _wait_for_backfill(api: AirflowApi, active: dict[str, Any]) -> None:
    watch, span = SchedulerWatch(api), f"{active['from_date'][:10]} … {active['to_date'][:10]}"
    _LOG.info("waiting for Airflow's backfill %s over the runs of %s to end", active["id"], span)
    while (current := active_backfill(api)) is not None and current["id"] == active["id"]:
        if current["is_paused"]:
            raise SetupError(
                f"Airflow's backfill {active['id']} of {DAILY} over the runs of {span} is paused, and Airflow does one"
                " at a time; unpause or cancel it in Airflow under Browse, Backfills, then run make demo again"
            )
        watch.check()
        time.sleep(_PAUSE_SECONDS)


def follow(
    api: AirflowApi,
    days: Sequence[datetime],
    *,
    show: Callable[[list[DayRun]], None],
    pause: float = 1.0,
    patience_seconds: float = SILENT_SECONDS,
) -> list[DayRun]:
    """Return the days' runs when all have ended; `show` sees them about once a second.

    Raises:
        SetupError: Airflow's scheduler stopped, or a day has no run and no backfill is under way that would make it.
    """
    done: dict[datetime, DayRun] = {}
    watch = SchedulerWatch(api, patience_seconds=patience_seconds)
    while True:
        runs = _runs(api, days, done)
        show(runs)
        if all(run.is_done for run in runs):
            return runs
        missing = [run.day for run in runs if not run.run_id]
        if missing and len(done) + len(missing) == len(days) and active_backfill(api) is None:
            raise SetupError(
                f"Airflow made no run of {DAILY} for {', '.join(f'{day:%Y-%m-%d}' for day in missing)}: its backfill"
                " ended without; look at it in Airflow under Browse, Backfills, then run make demo again"
            )
        watch.check()
        time.sleep(pause)


def failed_tasks(run: DayRun) -> list[str]:
    """Return the tasks of a run that failed, in their order."""
    return [name for name, task in run.tasks.items() if task.state == "failed"]


def _runs(api: AirflowApi, days: Sequence[datetime], done: dict[datetime, DayRun]) -> list[DayRun]:
    answer = api.get(
        f"/dags/{DAILY}/dagRuns",
        logical_date_gte=format_instant(days[0] + RUN_HOUR),
        logical_date_lte=format_instant(days[-1] + RUN_HOUR),
        limit=100,
    )
    known = {parse_instant(run["logical_date"]) - RUN_HOUR: run for run in answer["dag_runs"] if run["logical_date"]}
    for day in days:
        run = known.get(day)
        if run is not None and day not in done:
            state = DayRun(day, run["dag_run_id"], run["state"], _tasks(api, run["dag_run_id"]))
            if state.is_done:
                done[day] = state
            known[day] = {"is": state}
    return [done.get(day) or (known[day]["is"] if day in known else DayRun(day)) for day in days]


def _tasks(api: AirflowApi, run_id: str) -> dict[str, TaskState]:
    answer = api.get(f"/dags/{DAILY}/dagRuns/{run_id}/taskInstances", limit=100)
    found: dict[str, list[dict[str, Any]]] = {}
    for instance in answer["task_instances"]:
        found.setdefault(str(instance["task_id"]), []).append(instance)
    order = [name for name in TASKS if name in found] + [name for name in found if name not in TASKS]
    return {name: _merged(found[name]) for name in order}


def _merged(instances: list[dict[str, Any]]) -> TaskState:
    """Return the state of a task over its mapped instances: the one that says most."""
    ranking = ("failed", "up_for_retry", "running", "queued", "scheduled", "upstream_failed", "success", "skipped")
    states = [str(instance["state"] or "waiting") for instance in instances]
    state = next((name for name in ranking if name in states), states[0])
    seconds = [float(instance["duration"]) for instance in instances if instance["duration"] is not None]
    tries = max(int(instance.get("try_number") or 1) for instance in instances)
    return TaskState(state, max(seconds) if seconds else None, tries)
