"""The demo's runs against an Airflow that answers over HTTP as the real one does: it must end, whatever happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from marketlake.cli import demo_runs
from marketlake.cli.airflow_api import AirflowApi
from marketlake.cli.demo_runs import DAILY, RUN_HOUR, ask_for_days, follow
from marketlake.errors import SetupError
from marketlake.instants import DAY, format_instant

DAYS = [datetime(2025, 3, day, tzinfo=UTC) for day in (2, 3, 4)]


class Airflow:
    """What the web server knows: backfills, their runs, and whether the scheduler beats."""

    def __init__(self) -> None:
        self.backfills: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.is_unpaused = False
        self.scheduler = "healthy"
        self.looks = 0
        # How often the list of backfills is read before the one under way ends; None: never.
        self.ends_after: int | None = None

    def under_way(self, first: datetime, last: datetime, **more: Any) -> None:
        """Let a backfill be under way over the days."""
        span = {"from_date": format_instant(first + RUN_HOUR), "to_date": format_instant(last + RUN_HOUR)}
        number = len(self.backfills) + 1
        self.backfills.append({"id": number, **span, "completed_at": None, "is_paused": False, **more})

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Return status and document of a request."""
        path = path.split("?")[0].removeprefix("/api/v2")
        if path == "/auth/token":
            return 201, {"access_token": "t"}
        if path == "/monitor/health":
            return 200, {"scheduler": {"status": self.scheduler}}
        if method == "PATCH":
            self.is_unpaused = body == {"is_paused": False}
            return 200, {}
        if path == "/backfills":
            return self._backfills(method, body)
        if path.endswith("/taskInstances"):
            return 200, {"task_instances": []}
        return 200, {"dag_runs": self.runs}

    def _backfills(self, method: str, body: Any) -> tuple[int, dict[str, Any]]:
        if method == "GET":
            self.looks += 1
            if self.ends_after is not None and self.looks > self.ends_after:
                for item in self.backfills:
                    item["completed_at"] = "2025-03-05T00:00:00Z"
            return 200, {"backfills": self.backfills}
        self.asked.append(body)
        if any(item["completed_at"] is None for item in self.backfills):
            return 409, {"detail": f"There is already a running backfill for dag {DAILY}"}
        return 200, {"id": 9}

    def day(self, day: datetime, state: str) -> None:
        """Let the day have a run."""
        date = format_instant(day + RUN_HOUR)
        self.runs.append({"dag_run_id": f"backfill__{date}", "logical_date": date, "state": state})


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def api(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[AirflowApi]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, document = airflow.answer(self.command, self.path, body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - the server looks for these names

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    monkeypatch.setattr(demo_runs, "_PAUSE_SECONDS", 0.01)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield AirflowApi(f"http://127.0.0.1:{server.server_port}", "admin", "x")
    server.shutdown()
    server.server_close()


def test_days_are_asked_for_as_one_backfill_and_the_dag_goes_on(airflow: Airflow, api: AirflowApi) -> None:
    ask_for_days(api, DAYS, at_once=2)

    assert [item["from_date"] for item in airflow.asked] == ["2025-03-02T01:00:00Z"]
    assert airflow.is_unpaused


def test_a_backfill_over_these_days_is_followed(airflow: Airflow, api: AirflowApi) -> None:
    airflow.under_way(DAYS[0], DAYS[-1])

    ask_for_days(api, DAYS, at_once=2)

    assert len(airflow.asked) == 1
    assert airflow.is_unpaused


def test_a_backfill_over_other_days_is_waited_for_and_then_ours_is_asked_for(airflow: Airflow, api: AirflowApi) -> None:
    airflow.under_way(DAYS[0] - DAY, DAYS[1])
    airflow.ends_after = 3

    ask_for_days(api, DAYS, at_once=2)

    assert len(airflow.asked) == 2
    assert airflow.looks > 3


def test_a_paused_backfill_in_the_way_is_named(airflow: Airflow, api: AirflowApi) -> None:
    airflow.under_way(DAYS[0] - DAY, DAYS[1], is_paused=True)

    with pytest.raises(SetupError, match=r"backfill 1 of .* over the runs of 2025-03-01 … 2025-03-03 is paused"):
        ask_for_days(api, DAYS, at_once=2)


def test_following_ends_with_the_runs(airflow: Airflow, api: AirflowApi) -> None:
    for day, state in zip(DAYS, ("success", "failed", "success"), strict=True):
        airflow.day(day, state)

    assert [run.state for run in follow(api, DAYS, show=lambda runs: None)] == ["success", "failed", "success"]


def test_a_day_whose_run_nobody_will_make_is_named(airflow: Airflow, api: AirflowApi) -> None:
    airflow.day(DAYS[0], "success")
    airflow.day(DAYS[2], "success")

    with pytest.raises(SetupError, match="made no run of daily_market_data_pipeline for 2025-03-03"):
        follow(api, DAYS, show=lambda runs: None, pause=0.01)


def test_a_scheduler_that_stopped_ends_the_wait(airflow: Airflow, api: AirflowApi) -> None:
    airflow.day(DAYS[0], "running")
    airflow.scheduler = "unhealthy"

    with pytest.raises(SetupError, match="scheduler is unhealthy .* make down, then make demo"):
        follow(api, DAYS[:1], show=lambda runs: None, pause=0.01, patience_seconds=0.1)
