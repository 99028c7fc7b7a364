"""The first task of a run: opens it in the ledger and plans what to fetch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from marketlake.errors import UsageError
from marketlake.instants import DAY, Window, format_instant
from marketlake_airflow.step_operator import LibraryStepOperator, run_of
from marketlake_airflow.window import window_of

PLAN_KEY = "plan"


class PlanFetchesOperator(LibraryStepOperator):
    """Open the run over its window and plan its fetch tasks; the ingest tasks read from the plan where work is."""

    ui_color = "#e9f7ef"

    def __init__(
        self,
        *,
        datasets: Sequence[str],
        grain: timedelta = DAY,
        reach: timedelta = timedelta(0),
        with_open_holes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(step="plan_fetches", **kwargs)
        self.datasets = list(datasets)
        self.grain = grain
        self.reach = reach
        self.with_open_holes = with_open_holes

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the run's id and window, the number of fetch tasks and where they go."""
        run = run_of(context)
        self.run_step("open_run", run=run, options=self._request(context))
        plan = self.run_step(self.step, run=run)
        result = {name: plan.get(name) for name in ("run_id", "window", "tasks", "work")}
        context["ti"].xcom_push(PLAN_KEY, result)
        return result

    def _request(self, context: Context) -> list[str]:
        try:
            window = window_of(context, grain=self.grain, reach=self.reach)
        except UsageError as error:
            raise AirflowFailException(str(error)) from None
        options = [
            "--kind",
            context["dag_run"].dag_id,
            "--mode",
            (context["params"] or {}).get("mode") or "incremental",
        ]
        options += window_options(window)
        for dataset in self.datasets:
            options += ["--dataset", dataset]
        return [*options, "--with-open-holes"] if self.with_open_holes else options


def window_options(window: Window | None) -> list[str]:
    """Return the step's arguments for a window; none for `from the high watermarks to now`."""
    if window is None:
        return []
    return ["--start", format_instant(window.start), "--end", format_instant(window.end)]


def plan_of(context: Context, task_id: str) -> dict[str, Any] | None:
    """Return what the planning task of this run left for the others; None where it has not succeeded."""
    plan = context["ti"].xcom_pull(task_ids=task_id, key=PLAN_KEY)
    return plan if isinstance(plan, dict) else None
