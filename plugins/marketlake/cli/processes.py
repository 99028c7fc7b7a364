"""Background processes that outlive the command that starts them: groups, logs, the file that remembers them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Background:
    """One background process: its id and when it was made, so that a reused id is not taken for it."""

    name: str
    pid: int
    created_at: float

    def find(self) -> psutil.Process | None:
        """Return the live process, or None."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.created_at) < 1
            return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


@dataclass(frozen=True)
class RunFile:
    """The file under `<home>/run` that remembers what was started, with a few facts about it."""

    path: Path

    def read(self) -> tuple[list[Background], dict[str, Any]]:
        """Return what was started and the facts; nothing where the file is absent or damaged."""
        try:
            tree = json.loads(self.path.read_text(encoding="utf-8"))
            return [Background(**item) for item in tree["processes"]], dict(tree["facts"])
        except (OSError, ValueError, KeyError, TypeError):
            return [], {}

    def write(self, processes: Sequence[Background], facts: Mapping[str, Any]) -> None:
        """Remember the processes; aside, then by rename."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".new")
        document = {"processes": [vars(item) for item in processes], "facts": dict(facts)}
        aside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        aside.rename(self.path)

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def start_background(name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Background:
    """Start a process in a session of its own, its output appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Background(name, process.pid, psutil.Process(process.pid).create_time())


def stop_background(processes: Sequence[Background], *, seconds: float = STOP_SECONDS) -> bool:
    """End the processes, their groups and all that they started; return whether any of them was alive.

    First politely, all at once; what is left after `seconds` is killed.
    """
    roots = [process for process in (item.find() for item in processes) if process is not None]
    family = {process.pid: process for root in roots for process in [root, *_children(root)]}
    for root in roots:
        _signal_group(root.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    _, alive = psutil.wait_procs(list(family.values()), timeout=max(0.0, deadline - time.monotonic()))
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    for root in roots:
        _signal_group(root.pid, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    return bool(roots)


def log_end(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log, for an error's text."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "it wrote no log"


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
