"""The last step of a run: did everything that it should do come about, and if not, what is to be cleared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketlake.errors import QualityError
from marketlake.landing import LandingArea, manifests_of_run, readable_manifests
from marketlake.ledger import Run, built_until, finish_run, newest_build_of, run_named, tasks_of
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.damaged import damages
from marketlake.pipeline.refused import refusals
from marketlake.work import FetchTask, Manifest


@dataclass(frozen=True)
class Problem:
    """One thing that did not come about, and the task to clear once its cause is mended."""

    text: str
    task: str

    def __str__(self) -> str:
        return f"{self.text}; then clear {self.task} and what follows it, or run the same window again"


def check_run(call: StepCall) -> dict[str, Any]:
    """Close the run in the ledger; fail where something did not come about.

    Raises:
        QualityError: one or several problems; the text has a line for each, naming what to clear.
    """
    problems = problems_of(call)
    for run_id in call.run_ids:
        finish_run(call.connection, run_id, "failed" if problems else "succeeded")
    if problems:
        raise QualityError("\n".join(str(problem) for problem in problems))
    return {"run_id": call.run.run_id, "state": "succeeded"}


def problems_of(call: StepCall) -> list[Problem]:
    """Return what the run and its parts did not bring about, in the order of the steps."""
    lost = [*_unfetched(call), *_unloaded(call), *_refused(call), *_damaged(call)]
    return [*lost, *_unpublished(call), *_unbuilt(call)]


def _unfetched(call: StepCall) -> list[Problem]:
    problems = []
    for run_id in call.run_ids:
        run = run_named(call.connection, run_id)
        by_place: dict[tuple[str, str], list[FetchTask]] = {}
        for task in tasks_of(call.connection, run_id):
            by_place.setdefault((task.exchange, task.dataset), []).append(task)
        for (exchange, dataset), tasks in by_place.items():
            problems += _unfetched_of(call, run, exchange, dataset, tasks=tasks)
    return problems


def _unfetched_of(call: StepCall, run: Run, exchange: str, dataset: str, *, tasks: list[FetchTask]) -> list[Problem]:
    area = LandingArea(call.settings.lake_root)
    paths = manifests_of_run(area, exchange, dataset, run_id=run.run_id)
    sealed = [manifest for manifest, _ in readable_manifests(paths)]
    asked = {task.task_id for task in tasks}
    errors = {task_id: error for task_id, error in _failures(sealed).items() if task_id in asked}
    answered = {answer.task_id for manifest in sealed for answer in manifest.answers}
    # An archive whose checksum is the one that was loaded has no answer: there is nothing to load.
    missing = [task for task in tasks if task.task_id not in answered and task.reason != "reissue"]
    problems = []
    if missing:
        text = (
            f"{exchange} {dataset}: {len(missing)} of {len(tasks)} tasks were never fetched; see the log of the fetch"
        )
        problems.append(Problem(text, _fetch_task(run, dataset)))
    if errors:
        said = "; ".join(list(dict.fromkeys(errors.values()))[:3])
        text = f"{exchange} {dataset}: {len(errors)} of {len(tasks)} tasks failed: {said}; mend the cause"
        problems.append(Problem(text, _fetch_task(run, dataset)))
    return problems


def _fetch_task(run: Run, dataset: str) -> str:
    """Return the Airflow task that fetches; a part of a run is a mapped one, which its first day names."""
    if run.request.get("parent") and run.window is not None:
        return f"fetch_chunk {run.window.start:%Y-%m-%d}"
    return f"ingest_{dataset}"


def _failures(sealed: list[Manifest]) -> dict[str, str]:
    """Return task → error of the tasks whose newest manifest holds a failure."""
    errors: dict[str, str] = {}
    for manifest in sealed:
        for task_id in {answer.task_id for answer in manifest.answers}:
            errors.pop(task_id, None)
        errors |= {a.task_id: a.error or "no reason given" for a in manifest.answers if a.status == "failed"}
    return errors


def _unloaded(call: StepCall) -> list[Problem]:
    rows = call.connection.execute(
        "select exchange, dataset from ops.manifests where manifest_id = any(%s) and state = 'waiting'"
        " order by sealed_at",
        [call.manifest_ids()],
    ).fetchall()
    return [
        Problem(f"{exchange} {dataset}: a sealed manifest was not loaded; see the log of the load", "load_bronze")
        for exchange, dataset in rows
    ]


def _refused(call: StepCall) -> list[Problem]:
    return [Problem(f"{sentence}; mend the cause", "load_bronze") for sentence in refusals(call)]


def _damaged(call: StepCall) -> list[Problem]:
    # The load has nothing to judge again; only a plan made now asks for the windows.
    return [Problem(damage.sentence, "plan_fetches") for damage in damages(call) if damage.is_open]


def _unpublished(call: StepCall) -> list[Problem]:
    row = call.connection.execute(
        "select count(*) from ops.changes where load_id = any(%s) and publication_id is null", [call.load_ids()]
    ).fetchone()
    count = int(row[0]) if row else 0
    return [Problem(f"{count} changed range(s) were not published", "publish_changes")] if count else []


def _unbuilt(call: StepCall) -> list[Problem]:
    build = newest_build_of(call.connection, call.run.run_id)
    # Whoever built them: what counts is that the run's publications are in gold.
    if build is None or built_until(call.connection) >= build.pinned_publication_id:
        return []
    return [Problem(f"the build of silver and gold is {build.state} at {build.step or 'its start'}", "dbt_staging")]
