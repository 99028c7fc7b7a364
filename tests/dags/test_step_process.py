"""Tests for `marketlake_airflow.step_process`: real child processes."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from marketlake_airflow.step_process import StepError, StepProcess, library_environment


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_last_line_of_output_is_the_result_and_the_log_is_followed() -> None:
    lines: list[str] = []
    code = "import sys; print('noise'); print('progress', file=sys.stderr); print('{\"rows\": 3}')"

    assert StepProcess(_python(code), log_line=lines.append).run() == {"rows": 3}
    assert lines == ["progress"]


def test_output_that_is_no_object_is_an_empty_result() -> None:
    assert StepProcess(_python("print('[1]')"), log_line=print).run() == {}


@pytest.mark.parametrize(
    ("code", "text", "is_retryable"),
    [
        pytest.param('print(\'{"error": "why", "is_retryable": true}\'); exit(1)', "why", True, id="retryable"),
        pytest.param('print(\'{"error": "why", "is_retryable": false}\'); exit(1)', "why", False, id="final"),
        pytest.param('print(\'{"error": "why", "is_retryable": true}\'); exit(2)', "why", False, id="wrong use"),
        pytest.param("import sys; print('last words', file=sys.stderr); exit(3)", "last words", True, id="no document"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "SIGKILL", True, id="killed"),
    ],
)
def test_a_failure_says_what_the_library_said_and_whether_a_repeat_helps(
    code: str, text: str, is_retryable: bool
) -> None:
    with pytest.raises(StepError, match=text) as caught:
        StepProcess(_python(code), log_line=lambda line: None).run()

    assert caught.value.is_retryable is is_retryable


def test_a_missing_program_is_named_with_what_to_do() -> None:
    with pytest.raises(StepError, match=r"/nowhere/marketlake cannot be started.*make setup"):
        StepProcess(["/nowhere/marketlake"], log_line=print).run()


def test_stopping_ends_the_step_and_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    code = (
        "import subprocess; child = subprocess.Popen(['sleep', '60']);"
        f" open({str(note)!r}, 'w').write(str(child.pid)); child.wait()"
    )
    step = StepProcess(_python(code), log_line=print)
    stopper = threading.Thread(target=lambda: (_wait_for(note), step.stop()))
    stopper.start()

    with pytest.raises(StepError, match="stopped"):
        step.run()

    stopper.join()
    assert _is_gone(int(note.read_text()))


def test_a_step_does_not_outlive_its_killed_task(tmp_path: Path) -> None:
    note = tmp_path / "child"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = (
        "import sys; from marketlake_airflow.step_process import StepProcess;"
        f" StepProcess([sys.executable, '-c', {child!r}], log_line=print).run()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = psutil.Popen(_python(task), env=environment)
    _wait_for(note)

    parent.kill()
    parent.wait()

    assert _is_gone(int(note.read_text()))


def test_nothing_of_airflows_environment_reaches_the_library() -> None:
    environ = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "secret", "AIRFLOW_HOME": "x", "PYTHONPATH": "y", "VIRTUAL_ENV": "z",
        "MARKETLAKE_HOME": "kept", "PATH": "kept too",
    }  # fmt: skip

    assert sorted(library_environment(environ)) == ["MARKETLAKE_HOME", "PATH"]


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not (path.is_file() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    """Whether a process that was sent a signal ends of it; that takes the kernel a moment."""
    deadline = time.monotonic() + 10
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
