"""The tasks of `backfill_market_data` that no other DAG has: its plan, one chunk of its fetch, its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from marketlake.errors import UsageError
from marketlake.instants import Window, format_instant
from marketlake_airflow.backfill_request import BackfillRequest, backfill_request, chunks_of
from marketlake_airflow.plan_operator import PLAN_KEY, plan_of, window_options
from marketlake_airflow.run_id import chunk_run_id
from marketlake_airflow.step_operator import LibraryStepOperator, run_of
from marketlake_airflow.window import plain_instant

_MARKET_COLUMNS = ("dataset", "exchange", "symbol", "timeframe", "expected", "loaded", "rejected", "gaps")
_PLAN_COLUMNS = ("dataset", "exchange", "symbol", "timeframe", "source", "start", "end", "expected")


class PlanBackfillOperator(LibraryStepOperator):
    """Check the form, open the run, show what will be fetched; returns the chunks that the fetch tasks map over."""

    ui_color = "#e9f7ef"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="plan_fetches", **kwargs)

    def execute(self, context: Context) -> Any:
        """Return run id, start and end of each chunk; XCom `plan` holds what their runs are opened with."""
        run = run_of(context)
        try:
            request = backfill_request(context["params"] or {}, run_after=plain_instant(context["dag_run"].run_after))
        except UsageError as error:
            raise AirflowFailException(str(error)) from None
        opening = ["--kind", context["dag_run"].dag_id, *window_options(request.window), *request.options()]
        self.run_step("open_run", run=run, options=[*opening, *(["--dry-run"] if request.dry_run else [])])
        chunks = [] if request.dry_run else chunks_of(request.window)
        if request.dry_run:
            self._show_plan(self.run_step(self.step, run=run))
        else:
            self._show_request(request, chunks)
        window = {"start": format_instant(request.window.start), "end": format_instant(request.window.end)}
        plan = {"run_id": run, "dry_run": request.dry_run, "window": window, "options": request.options()}
        context["ti"].xcom_push(PLAN_KEY, plan)
        return [_chunk(run, window) for window in chunks]

    def _show_plan(self, plan: Mapping[str, Any]) -> None:
        self.log.info("%s fetch tasks; a dry run fetches none of them", plan.get("tasks"))
        for line in table(plan.get("plan", []), _PLAN_COLUMNS):
            self.log.info("%s", line)

    def _show_request(self, request: BackfillRequest, chunks: Sequence[Window]) -> None:
        self.log.info("%s in %s chunk(s), mode %s", request.window, len(chunks), request.mode)
        for symbol, timeframe, expected in request.expected_candles():
            self.log.info("%s %s: %s candles expected on the grid", symbol, timeframe, f"{expected:,}")


class FetchChunkOperator(LibraryStepOperator):
    """Fetch one chunk of a backfill, every dataset from every exchange; cleared, it fetches what is still missing."""

    template_fields: Sequence[str] = ("chunk",)
    ui_color = "#e8f1fb"

    def __init__(self, *, chunk: Mapping[str, str], plan: str, **kwargs: Any) -> None:
        super().__init__(step="ingest", **kwargs)
        self.chunk = chunk
        self.plan = plan

    def execute(self, context: Context) -> dict[str, Any]:
        """Return what was fetched, by exchange and dataset; one that fails does not stop the others."""
        run, opening = self.chunk["run"], (plan_of(context, self.plan) or {})["options"]
        window = ["--start", self.chunk["start"], "--end", self.chunk["end"]]
        self.run_step(
            "open_run",
            run=run,
            options=["--kind", context["dag_run"].dag_id, "--parent", run_of(context), *window, *opening],
        )
        fetched, problems = [], list[AirflowException]()
        for item in self.run_step("plan_fetches", run=run).get("work", []):
            where = ["--exchange", item["exchange"], "--dataset", item["dataset"]]
            try:
                fetched.append({**item, **self.run_step(self.step, run=run, options=where)})
            except AirflowException as error:
                problems.append(error)
        if problems:
            is_final = all(isinstance(problem, AirflowFailException) for problem in problems)
            raise (AirflowFailException if is_final else AirflowException)("\n".join(map(str, problems)))
        return {"run_id": run, "fetched": fetched}


class SummarizeOperator(LibraryStepOperator):
    """Show what the run expected, loaded, rejected and left open, by market."""

    ui_color = "#f4ecf7"

    def __init__(self, *, needs: str, **kwargs: Any) -> None:
        super().__init__(step="summary", trigger_rule="all_done", **kwargs)
        self.needs = needs

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the markets' figures; the log shows them as a table."""
        plan = plan_of(context, self.needs)
        if plan is None or plan.get("dry_run"):
            raise AirflowSkipException("nothing was fetched, so there is nothing to sum up")
        summary = self.run_step(self.step, run=run_of(context))
        for line in table(summary.get("markets", []), _MARKET_COLUMNS):
            self.log.info("%s", line)
        return summary


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return the rows as aligned lines of text under a head line; nothing for no rows."""
    if not rows:
        return []
    cells = [list(columns)] + [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _chunk(parent: str, window: Window) -> dict[str, str]:
    return {
        "run": chunk_run_id(parent, window.start),
        "start": format_instant(window.start),
        "end": format_instant(window.end),
    }
