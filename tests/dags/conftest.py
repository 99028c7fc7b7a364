"""Airflow's test environment: a home of its own, decided before Airflow is imported, and a library that can be told."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
_HOME = tempfile.TemporaryDirectory(prefix="marketlake-airflow-")
os.environ |= {
    "AIRFLOW_HOME": _HOME.name,
    "AIRFLOW_CONFIG": str(REPOSITORY / "airflow.cfg"),
    "MARKETLAKE_ROOT": str(REPOSITORY),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME.name}/airflow.db",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "TZ": "UTC",
}

# A library at the process boundary: notes how it was called, says what it was told to say.
_LIBRARY = """#!{python}
import json, os, pathlib, sys, time
folder = pathlib.Path({folder!r})
arguments = sys.argv[1:]
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
script = json.loads((folder / "script.json").read_text())
name = arguments[1] if arguments[0] == "step" else arguments[0]
answer = script.get(name + " " + arguments[arguments.index("--dataset") + 1]) if "--dataset" in arguments else None
answer = answer or script.get(name) or {{}}
print("log of", name, file=sys.stderr, flush=True)
time.sleep(answer.get("seconds", 0))
if "text" in answer:
    print(answer["text"], file=sys.stderr)
if arguments[0] == "step":
    print("noise before the result")
print(json.dumps(answer.get("result", {{"done": name}})))
sys.exit(answer.get("code", 0))
"""


@dataclass
class Library:
    """A `marketlake` whose answers a test sets, by step or by `step dataset`."""

    folder: Path
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, step: str, result: dict[str, Any] | None = None, **more: Any) -> None:
        """Let a step answer with this result, exit code (`code`), last log line (`text`), after `seconds`."""
        self.answers[step] = {**({} if result is None else {"result": result}), **more}
        (self.folder / "script.json").write_text(json.dumps(self.answers))

    def fail(self, step: str, text: str, *, code: int = 1, is_retryable: bool = False) -> None:
        """Let a step fail as the library does."""
        self.answer(step, {"error": text, "is_retryable": is_retryable, "exit_code": code}, code=code, text=text)

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each call, in order."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    @property
    def steps(self) -> list[str]:
        """The names of the steps that were called, in order."""
        return [call[1] for call in self.calls if call[0] == "step"]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """The program that the operators start, with a plan that has work for both datasets."""
    folder = tmp_path / "library"
    folder.mkdir()
    program = folder / "marketlake"
    program.write_text(_LIBRARY.format(python=sys.executable, folder=str(folder)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("MARKETLAKE_COMMAND", str(program))
    monkeypatch.setenv("MARKETLAKE_HOME", str(tmp_path / "home"))
    library = Library(folder)
    work = [{"exchange": "binance", "dataset": name, "tasks": 2} for name in ("ohlcv", "funding_rates")]
    library.answer("plan_fetches", {"run_id": "r", "window": None, "tasks": 4, "work": work})
    library.answer("refresh_grafana_dashboards", {"skipped": "no Grafana is configured"})
    return library


class TaskInstance:
    """What the operators use of a task instance: XComs of its run, and the states of its neighbours."""

    def __init__(self, xcoms: dict[tuple[str, str], Any] | None = None, states: list[dict[str, Any]] | None = None):
        self.map_index = -1
        self.xcoms = xcoms or {}
        self.states = states or []
        self.pushed: dict[str, Any] = {}

    def xcom_pull(self, *, task_ids: str, key: str = "return_value") -> Any:
        return self.xcoms.get((task_ids, key))

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def get_task_breadcrumbs(self, *, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return self.states


def context_of(dag_id: str = "daily_market_data_pipeline", **more: Any) -> dict[str, Any]:
    """Return the context of a task in the scheduled run of 2025-01-02T01:00Z, changed by `more`."""
    run = SimpleNamespace(dag_id=dag_id, run_id="scheduled__2025-01-02T01:00:00+00:00", run_after=instant(2, 1))
    return {
        "dag_run": run,
        "ti": TaskInstance(),
        "params": {},
        "data_interval_start": instant(1, 1),
        "data_interval_end": instant(2, 1),
        **more,
    }


def instant(day: int, hour: int = 0) -> datetime:
    """Return an hour of January 2025."""
    return datetime(2025, 1, day, hour, tzinfo=UTC)


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's tables, for tests that run whole DAGs."""
    program = Path(sys.executable).parent / "airflow"
    command = [str(program)] if program.is_file() else [sys.executable, "-m", "airflow"]
    subprocess.run([*command, "db", "migrate"], check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="session")
def dags() -> dict[str, Any]:
    """Every DAG of the project, by its id."""
    from importlib import import_module

    found: dict[str, Any] = {}
    for path in dag_files():
        module = import_module(f"marketlake_dags.{path.stem}")
        found |= {
            dag.dag_id: dag for dag in vars(module).values() if hasattr(dag, "dag_id") and hasattr(dag, "task_dict")
        }
        if path.stem not in found:
            found[path.stem] = getattr(module, path.stem)()
    return found


def dag_files() -> list[Path]:
    """Return the files that hold DAGs."""
    return sorted(path for path in (REPOSITORY / "dags" / "marketlake_dags").glob("*.py") if path.stem != "__init__")
