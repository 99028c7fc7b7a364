"""What the demo shows while it runs: a table of tasks by day that changes in place, or lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from marketlake.cli.demo_runs import DONE, TASKS, DayRun, TaskState
from marketlake.cli.output import console

_MARKS = {
    "success": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "upstream_failed": ("·", "red"),
    "skipped": ("–", "dim"),
    "running": ("▶", "cyan"),
    "queued": ("…", "yellow"),
    "scheduled": ("…", "yellow"),
    "up_for_retry": ("↻", "yellow"),
}


class Progress:
    """Shows the runs of the days; use it as a context manager and call it with each new state."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = console()
        self._live: Any = None
        self._quiet = quiet
        self._said: set[tuple[Any, ...]] = set()
        self._started = time.monotonic()

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._quiet:
            from rich.live import Live

            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, runs: Sequence[DayRun]) -> None:
        """Show the state of the runs."""
        if self._live is not None:
            self._live.update(progress_table(runs, seconds=time.monotonic() - self._started))
        elif not self._quiet:
            self._say_changes(runs)

    def _say_changes(self, runs: Sequence[DayRun]) -> None:
        for run in runs:
            for name, task in run.tasks.items():
                key = (run.day, name, task.state, task.try_number)
                if (task.state in DONE or task.state == "up_for_retry") and key not in self._said:
                    self._said.add(key)
                    passed = time.monotonic() - self._started
                    print(f"{passed:6.1f} s  {run.day:%Y-%m-%d}  {name:<28} {_words(task)}", flush=True)


def progress_table(runs: Sequence[DayRun], *, seconds: float) -> Any:
    """Return the tasks by day as a table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=f"daily_market_data_pipeline, {seconds:.0f} s", title_justify="left")
    table.add_column("task")
    for run in runs:
        table.add_column(f"{run.day:%Y-%m-%d}", min_width=12)
    for name in [*TASKS, *sorted({name for run in runs for name in run.tasks} - set(TASKS))]:
        cells = [run.tasks.get(name, TaskState("waiting")) for run in runs]
        table.add_row(name, *(Text(_cell(task), style=_MARKS.get(task.state, ("", "dim"))[1]) for task in cells))
    return table


def _cell(task: TaskState) -> str:
    mark = _MARKS.get(task.state, ("", ""))[0]
    if task.state in ("success", "failed") and task.seconds is not None:
        return f"{mark} {task.seconds:.1f} s"
    return {"running": f"{mark} running", "up_for_retry": f"{mark} waits to retry"}.get(task.state, mark)


def _words(task: TaskState) -> str:
    if task.state == "up_for_retry":
        return f"failed at try {task.try_number}; Airflow tries again after some minutes, its log says why"
    return f"{task.state}  {task.seconds:.1f} s" if task.seconds is not None and task.state != "skipped" else task.state
