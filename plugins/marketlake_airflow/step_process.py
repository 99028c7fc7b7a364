"""One step of the library as a child process: started in its own group, its log followed, its result read.

Nothing of Airflow's environment reaches the child, neither its Python settings nor its database address.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

STOP_SECONDS = 15
WRONG_USE = 2
_KEPT_LINES = 12
_FOREIGN_PREFIXES = ("AIRFLOW", "_AIRFLOW", "PYTHON", "VIRTUAL_ENV")
_PR_SET_PDEATHSIG = 1


class StepError(Exception):
    """A step failed; the text is what the library said, complete for a person."""

    def __init__(self, text: str, *, is_retryable: bool) -> None:
        super().__init__(text)
        self.is_retryable = is_retryable


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended: its exit code, the JSON object of its last output line, the last lines of its log."""

    exit_code: int
    result: dict[str, Any]
    last_lines: tuple[str, ...]


def library_command() -> str:
    """Return the program that runs the library's steps: `MARKETLAKE_COMMAND`, else `bin/marketlake` of the checkout."""
    return os.environ.get("MARKETLAKE_COMMAND") or str(Path(__file__).resolve().parents[2] / "bin" / "marketlake")


def library_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what belongs to Airflow and its interpreter."""
    return {name: value for name, value in environ.items() if not name.startswith(_FOREIGN_PREFIXES)}


class StepProcess:
    """A running step. `run` blocks until it ends; `stop` may be called from a signal handler or another thread."""

    def __init__(self, command: Sequence[str], *, log_line: Callable[[str], None]) -> None:
        self._command = list(command)
        self._log_line = log_line
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False

    def run(self) -> dict[str, Any]:
        """Return the step's result.

        Raises:
            StepError: the step failed or was stopped; `is_retryable` says whether a repeat may help.
        """
        outcome = self._follow()
        if self._is_stopped:
            raise StepError("stopped from outside, half-done work is finished by the next attempt", is_retryable=True)
        if outcome.exit_code:
            raise _error_of(outcome)
        return outcome.result

    def stop(self) -> None:
        """End the step and whatever it started; first politely, after 15 seconds for good."""
        self._is_stopped = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        _signal_group(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS)
        _signal_group(process, signal.SIGKILL)

    def _follow(self) -> StepOutcome:
        self._process = process = self._start()
        assert process.stdout is not None
        assert process.stderr is not None
        kept: deque[str] = deque(maxlen=_KEPT_LINES)
        reader = threading.Thread(target=_follow_log, args=(process.stderr, self._log_line, kept), daemon=True)
        reader.start()
        last_line = ""
        try:
            for line in process.stdout:
                last_line = line.strip() or last_line
            exit_code = process.wait()
        finally:
            if process.poll() is None:  # a time limit or a signal got between
                self.stop()
        reader.join(timeout=STOP_SECONDS)
        return StepOutcome(exit_code, _json_object(last_line), tuple(kept))

    def _start(self) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                self._command,
                env=library_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
            )
        except OSError as error:
            raise StepError(
                f"{self._command[0]} cannot be started: {error.strerror}; run make setup, or set MARKETLAKE_COMMAND "
                "to the library's command",
                is_retryable=False,
            ) from None


def _end_with_parent() -> None:
    # A killed task must not leave its step behind: two attempts of one task would then run side by side.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _follow_log(stream: IO[str], log_line: Callable[[str], None], kept: deque[str]) -> None:
    for line in stream:
        if line.strip():
            kept.append(line.rstrip())
            log_line(line.rstrip())


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _json_object(line: str) -> dict[str, Any]:
    try:
        tree = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _error_of(outcome: StepOutcome) -> StepError:
    text = str(outcome.result.get("error") or "\n".join(outcome.last_lines[-5:]) or "the step said nothing")
    if outcome.exit_code < 0:
        text = f"the step was killed by {signal.Signals(-outcome.exit_code).name}; {text}"
    is_retryable = outcome.result.get("is_retryable", outcome.exit_code != WRONG_USE)
    return StepError(text, is_retryable=bool(is_retryable) and outcome.exit_code != WRONG_USE)
