"""One call of dbt, in dbt's own environment: command line, environment, and what its results say."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketlake.crash import crash_point
from marketlake.embedded_postgres import ensure_running
from marketlake.errors import DataError, MarketlakeError, QualityError, SetupError, UnavailableError
from marketlake.java import REPOSITORY
from marketlake.settings import Settings

PROJECT = REPOSITORY / "dbt_project"
PROGRAM = REPOSITORY / ".venv" / "dbt" / "bin" / "dbt"
_FAILED = ("error", "fail", "runtime error")
_PR_SET_PDEATHSIG = 1
# What Postgres says of a failure that may be gone the next time; all else that it refuses, it refuses again.
_MAY_HEAL = (
    *("connection to server", "could not connect", "connection refused", "connection timed out", "could not translate"),
    *("server closed the connection", "connection already closed", "connection has been closed", "connection reset"),
    *("terminating connection", "the database system is", "too many clients", "remaining connection slots"),
    *("deadlock detected", "could not serialize access", "lock timeout", "could not extend file", "out of memory"),
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DbtResult:
    """How the nodes of one call ended: name → status, and name → wall seconds."""

    statuses: Mapping[str, str]
    seconds: Mapping[str, float]


def dbt_folder(settings: Settings) -> Path:
    """Return where dbt keeps its artifacts and logs: below the home, never in the project."""
    return settings.home / "dbt"


def run_dbt(
    settings: Settings, command: Sequence[str], *, variables: Mapping[str, Any] | None = None, folder: str = "target"
) -> DbtResult:
    """Run `dbt <command>` over the project and return how its nodes ended; its artifacts go to `folder` of dbt's own.

    Raises:
        SetupError: dbt's environment is missing.
        QualityError: a data test failed.
        DataError: a model or a test does not compile, breaks its contract, or is refused by the database.
        UnavailableError: the database went away, or took another side in a deadlock; a repeat may succeed.
        MarketlakeError: dbt was stopped from outside. Each text names the nodes with the first lines of their messages.
    """
    target = dbt_folder(settings) / folder
    target.mkdir(parents=True, exist_ok=True)
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    line = [str(PROGRAM), "--no-use-colors", *command, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    if variables:
        line += ["--vars", json.dumps(variables)]
    code, said = _follow(line, _environment(settings, target))
    tree = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {"results": []}
    failed = [item for item in tree["results"] if item["status"] in _FAILED]
    if code or failed:
        raise error_class(code, failed, said)(_complaint(command[0], failed, said, settings))
    nodes = {item["unique_id"].split(".", 2)[-1]: item for item in tree["results"]}
    return DbtResult(
        {name: str(item["status"]) for name, item in nodes.items()},
        {name: float(item["execution_time"]) for name, item in nodes.items()},
    )


def error_class(code: int, failed: Sequence[Mapping[str, Any]], said: Sequence[str]) -> type[MarketlakeError]:
    """Return the error that says whether a repeat can help."""
    if any(item["status"] == "fail" for item in failed):
        return QualityError
    if code < 0:  # by a signal
        return MarketlakeError
    text = "\n".join([str(item["message"]) for item in failed] or said).lower()
    return UnavailableError if any(part in text for part in _MAY_HEAL) else DataError


def _follow(line: list[str], environ: dict[str, str]) -> tuple[int, list[str]]:
    if not PROGRAM.is_file():
        raise SetupError(f"dbt's environment is not set up: {PROGRAM} is missing; run make setup")
    _LOG.debug("%s", " ".join(line[1:]))
    process = subprocess.Popen(
        line,
        env=environ,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A killed step must not leave dbt behind, writing into a build that another run has taken over.
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
    )
    said = []
    assert process.stdout is not None
    for text in process.stdout:
        said.append(text.rstrip())
        _LOG.debug("dbt: %s", said[-1])
        if " OK created" in text:
            crash_point("build.in_dbt")
    return process.wait(), said


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _environment(settings: Settings, target: Path) -> dict[str, str]:
    address = ensure_running(settings)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DBT_", "VIRTUAL_ENV"))}
    return {
        **kept,
        "DBT_POSTGRES_HOST": address.host,
        "DBT_POSTGRES_PORT": str(address.port),
        "DBT_POSTGRES_USER": address.username,
        "DBT_POSTGRES_DATABASE": address.database,
        "DBT_POSTGRES_SSL_MODE": settings.database.ssl_mode or "prefer",
        "DBT_POSTGRES_THREADS": str(settings.dbt.threads),
        "DBT_ENV_SECRET_POSTGRES_PASSWORD": address.password,
        "DBT_TARGET": settings.dbt.target,
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(settings.logs_folder / "dbt"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        "TZ": "UTC",
    }


def _complaint(command: str, failed: Sequence[Mapping[str, Any]], said: Sequence[str], settings: Settings) -> str:
    lines = [f"dbt {command} failed; its log is {settings.logs_folder / 'dbt' / 'dbt.log'}"]
    for item in failed[:5]:
        message = " ".join(str(item["message"] or "").split())[:300]
        lines.append(f"- {item['unique_id'].split('.', 2)[-1]}: {message}")
    if not failed:
        lines += [text for text in said if text.strip()][-8:]
    return "\n".join(lines)
