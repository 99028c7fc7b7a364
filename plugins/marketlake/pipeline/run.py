"""A whole run in one process: the steps that Airflow's tasks do, in the same order, without Airflow."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from marketlake.errors import MarketlakeError, UsageError
from marketlake.ledger import Run, connect, finish_run
from marketlake.pipeline.building import BUILD_STEPS, get_dbt_ready, has_something_to_build
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.checking import problems_of
from marketlake.pipeline.fetching import make_plan, plan_document
from marketlake.pipeline.opening import Opening, open_run
from marketlake.pipeline.refused import judge_again
from marketlake.pipeline.steps import call_step
from marketlake.pipeline.summary import summary
from marketlake.publish.dbt_session import DbtSession
from marketlake.settings import Settings

_LOG = logging.getLogger(__name__)
_MAY_FAIL = ("optimize_delta_tables", "refresh_grafana_dashboards")


@dataclass
class RunSummary:
    """What a run came to. `problems` is empty where all went well; `plan` is what it set out to fetch.

    `warnings` tell of steps that failed without harm to the data.
    """

    run: Run
    plan: dict[str, Any]
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """`succeeded`, `failed` or `planned`."""
        return "planned" if self.plan.get("dry_run") else "failed" if self.problems else "succeeded"

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain data; `error` only where something failed."""
        document = {
            **self.details,
            "run_id": self.run.run_id,
            "state": self.state,
            "window": self.run.window,
            "seconds": self.seconds,
            "plan": self.plan,
            "results": self.results,
            "problems": self.problems,
            "warnings": self.warnings,
        }
        return {**document, "error": "\n".join(self.problems), "is_retryable": False} if self.problems else document


def run_pipeline(settings: Settings, opening: Opening, *, build: bool = False) -> RunSummary:
    """Plan, fetch, load, audit and publish; with `build` go on through dbt, tests and merge.

    What fails of one exchange, market or manifest does not stop the others and stands in the summary's problems.

    Raises:
        UsageError: the request cannot be; nothing was done.
        MarketlakeError: storage, database or an unknown exchange do not answer at the start.
    """
    started = time.monotonic()
    with connect(settings) as connection, DbtSession(settings) as dbt:
        run = open_run(settings, connection, opening)
        call = StepCall(settings, connection, run, dbt=dbt)
        if call.request.dry_run:
            document = plan_document(call, make_plan(call))
            finish_run(connection, run.run_id, "succeeded")
            return RunSummary(run, document, seconds=time.monotonic() - started)
        # Before the plan, so that what landed and was refused is judged again and not fetched again.
        judge_again(call)
        outcome = RunSummary(run, call_step("plan_fetches", call))
        _work(call, outcome, build=build)
        outcome.problems += [str(problem) for problem in problems_of(call)]
        finish_run(connection, run.run_id, "failed" if outcome.problems else "succeeded")
        outcome.details = summary(call, with_contents=bool(outcome.problems) or did_anything(outcome))
        outcome.seconds = round(time.monotonic() - started, 3)
        return outcome


def _work(call: StepCall, outcome: RunSummary, *, build: bool) -> None:
    """Do the steps after the plan; one that raises stops those that need it, not the check."""
    if outcome.plan["tasks"]:
        if build:
            get_dbt_ready(call)  # while others are waited for, and Spark works
        do_step("ingest_all", call, outcome)
    if not do_step("load_bronze", call, outcome):
        return
    if outcome.results["load_bronze"]["manifests"] and not do_step("validate_data_quality", call, outcome):
        return
    if not do_step("publish_changes", call, outcome):
        return
    if build and has_something_to_build(call) and not all(do_step(step, call, outcome) for step in BUILD_STEPS):
        return
    if outcome.results.get("validate_data_quality", {}).get("loaded"):
        do_step("optimize_delta_tables", call, outcome)
    if did_anything(outcome):
        do_step("mirror_ledger", call, outcome)


def did_anything(outcome: RunSummary) -> bool:
    """Return whether the run did anything at all; one that did not leaves the lake untouched."""
    loaded = outcome.results.get("load_bronze", {}).get("manifests")
    published = outcome.results.get("publish_changes", {}).get("ranges")
    return bool(outcome.plan["tasks"] or loaded or published or "merge_gold" in outcome.results)


def do_step(step: str, call: StepCall, outcome: RunSummary) -> bool:
    """Do one step; keep its result, or its error as a problem or warning; return whether the run can go on."""
    _LOG.info("%s …", step)
    try:
        outcome.results[step] = call_step(step, call)
    except UsageError:
        raise
    except MarketlakeError as error:
        if step in _MAY_FAIL:
            outcome.warnings.append(f"{step}: {error}")
            return True
        outcome.problems.append(f"{step}: {error}")
        return False
    return True
