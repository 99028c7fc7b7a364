"""The demo's last page: what is in the lake, how complete it is, what it shows, what it cost, where to look on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import psycopg

from marketlake.cli.output import Output
from marketlake.cli.summary_view import show_contents
from marketlake.instants import Window
from marketlake.ledger import run_named, steps_of
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.loading import verdicts_of_run
from marketlake.pipeline.summary import summary
from marketlake.settings import Settings


@dataclass(frozen=True)
class _SeveralRuns(StepCall):
    """A call over several runs as if they were one."""

    several: tuple[str, ...] = ()

    @cached_property
    def run_ids(self) -> list[str]:
        return list(self.several)


def demo_summary(
    settings: Settings, connection: psycopg.Connection, run_ids: Sequence[str], window: Window
) -> dict[str, Any]:
    """Return the summary of the runs as plain data; `steps` holds the seconds of each step by run."""
    run = replace(run_named(connection, run_ids[-1]), window=window)
    document = summary(_SeveralRuns(settings, connection, run, several=tuple(run_ids)))
    calls = [StepCall(settings, connection, run_named(connection, run_id)) for run_id in run_ids]
    steps: dict[str, dict[str, float]] = {}
    for run_id in run_ids:
        for item in steps_of(connection, run_id):
            name = f"{item.step} {item.dataset}".strip()
            steps.setdefault(name, {})[run_id] = round(steps.get(name, {}).get(run_id, 0.0) + item.seconds, 2)
    return {**document, "run_ids": list(run_ids), "rejected": _reasons(calls), "steps": steps}


def show_demo_summary(out: Output, document: dict[str, Any], labels: dict[str, str]) -> None:
    """Print the summary as tables; `labels` names each run's day."""
    show_contents(out, document)
    runs = [run_id for run_id in document["run_ids"] if run_id in labels]
    rows = [
        [name, *(seconds.get(run_id) for run_id in runs), round(sum(seconds.values()), 1)]
        for name, seconds in document["steps"].items()
    ]
    out.table("Seconds per step", ["step", *(labels[run_id] for run_id in runs), "all"], rows)


def _reasons(calls: Sequence[StepCall]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for call in calls:
        for verdict in verdicts_of_run(call):
            for reason, count in verdict.reasons.items():
                counts[reason] = counts.get(reason, 0) + count
    return counts
