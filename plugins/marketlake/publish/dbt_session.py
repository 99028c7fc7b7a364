"""A process in dbt's own environment that does one command after another, so that dbt starts and parses once."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from marketlake.crash import crash_point
from marketlake.embedded_postgres import ensure_running
from marketlake.errors import SetupError
from marketlake.java import REPOSITORY
from marketlake.settings import Settings

PROJECT = REPOSITORY / "dbt_project"
PYTHON = REPOSITORY / ".venv" / "dbt" / "bin" / "python"
_SCRIPT = PROJECT / "session.py"
# Begins the line that ends a command's output, as in the script.
_END = "\x1e"
_PR_SET_PDEATHSIG = 1
_END_SECONDS = 5.0
_LOG = logging.getLogger(__name__)


def dbt_folder(settings: Settings) -> Path:
    """Return where dbt keeps its artifacts and logs: below the home, never in the project."""
    return settings.home / "dbt"


class DbtSession:
    """One dbt process, started by its first command or by `start`, ended with the `with` block.

    A process that is gone, or whose database moved, is replaced by the next command. Commands come one at a time; the
    process does not outlive the thread that started it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own_variables: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        self._is_ready = False
        self._is_busy = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process where none runs, and return while it gets ready.

        Raises:
            SetupError: dbt's environment is missing.
        """
        own = _own_variables(self._settings)
        if self._process is not None and self._process.poll() is None and own == self._own_variables:
            return
        self.close()
        if not PYTHON.is_file():
            raise SetupError(f"dbt's environment is not set up: {PYTHON} is missing; run make setup")
        shared = ("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT))
        self._own_variables, self._is_ready = own, False
        self._process = subprocess.Popen(
            [str(PYTHON), str(_SCRIPT), *shared],
            env={**_inherited_variables(), **own},
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A killed step must not leave dbt behind, writing into a build that another run has taken over.
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
        )

    def call(self, arguments: Sequence[str], *, results: Path, parses_anew: bool = False) -> tuple[int, list[str]]:
        """Do `dbt <arguments>`; return dbt's exit code, or minus the signal that ended it, and the lines it said.

        What the project looks like is what it was when the process started, unless the command `parses_anew`.

        Raises:
            SetupError: dbt's environment is missing.
        """
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        _LOG.debug("dbt %s", " ".join(arguments))
        self._is_busy = True
        said: list[str] = []
        code: int | None = 0
        if not self._is_ready:
            code = self._follow(said)
        if code is not None:
            self._is_ready = True
            command = {"arguments": [*arguments], "parses_anew": parses_anew, "results": str(results)}
            with suppress(BrokenPipeError):  # what it said before it went says why
                self._process.stdin.write(json.dumps(command) + "\n")
                self._process.stdin.flush()
            said = []
            code = self._follow(said)
        if code is None:
            code = self._process.wait() or 1
        self._is_busy = False
        return code, said

    def close(self) -> None:
        """End the process; one that is at work is killed."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        assert process.stdout is not None
        if self._is_busy:
            process.kill()
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._is_busy = False

    def _follow(self, said: list[str]) -> int | None:
        """Collect the lines up to the next end of a command; return its exit code, None where the process ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        for text in self._process.stdout:
            if text.startswith(_END):
                return int(text.removeprefix(_END))
            said.append(text.rstrip())
            _LOG.debug("dbt: %s", said[-1])
            if " OK created" in text:
                crash_point("build.in_dbt")
        return None


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _inherited_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DBT_", "VIRTUAL_ENV"))}


def _own_variables(settings: Settings) -> dict[str, str]:
    """Return what the project's profile and dbt read; a process that was started with other values is of no use."""
    address = ensure_running(settings)
    return {
        "DBT_POSTGRES_HOST": address.host,
        "DBT_POSTGRES_PORT": str(address.port),
        "DBT_POSTGRES_USER": address.username,
        "DBT_POSTGRES_DATABASE": address.database,
        "DBT_POSTGRES_SSL_MODE": settings.database.ssl_mode or "prefer",
        "DBT_POSTGRES_THREADS": str(settings.dbt.threads),
        "DBT_ENV_SECRET_POSTGRES_PASSWORD": address.password,
        "DBT_TARGET": settings.dbt.target,
        "DBT_TARGET_PATH": str(dbt_folder(settings) / "target"),
        "DBT_LOG_PATH": str(settings.logs_folder / "dbt"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
        "TZ": "UTC",
    }
