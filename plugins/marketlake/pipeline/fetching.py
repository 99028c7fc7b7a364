"""The steps that plan and fetch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from marketlake.errors import MarketlakeError, UnavailableError, UsageError
from marketlake.exchanges.registry import exchange_named
from marketlake.instants import format_instant
from marketlake.landing import LandingArea
from marketlake.pipeline.call import StepCall
from marketlake.planning.plan import Plan, plan_run, save_plan
from marketlake.planning.request import Chosen, choose_series
from marketlake.timeframes import grid_count
from marketlake.work import FetchTask

# An archive and its checksum.
_REQUESTS_OF_AN_ARCHIVE = 2


def make_plan(call: StepCall) -> Plan:
    """Return the plan of the call's run; nothing is written."""
    request = call.request
    holes = "all" if call.is_by_hand else "due" if request.with_open_holes else "none"
    return plan_run(
        call.connection,
        call.run,
        settings=call.settings,
        datasets=request.datasets,
        exchanges=request.exchanges or None,
        symbols=request.symbols or None,
        timeframes=request.timeframes or None,
        source=request.source,
        check_reissued=request.check_reissued,
        holes=holes,
    )


def chosen_series(call: StepCall) -> Chosen:
    """Return the series that the run's names mean."""
    request = call.request
    return choose_series(
        call.connection,
        call.run,
        settings=call.settings,
        datasets=request.datasets,
        exchanges=request.exchanges or None,
        symbols=request.symbols or None,
        timeframes=request.timeframes or None,
    )


def plan_fetches(call: StepCall) -> dict[str, Any]:
    """Plan the run and, unless it is a dry run, make the plan the run's; return it as plain data.

    `work` lists exchange and dataset pairs that have something to fetch, `plan` a line per series and source.
    """
    plan = make_plan(call)
    if not call.request.dry_run:
        save_plan(call.connection, plan, kept_in=LandingArea(call.settings.lake_root))
    return plan_document(call, plan)


def plan_document(call: StepCall, plan: Plan) -> dict[str, Any]:
    """Return the plan as people and Airflow's tasks read it."""
    window = call.run.window
    return {
        **plan.summary(),
        "window": None
        if window is None
        else {"start": format_instant(window.start), "end": format_instant(window.end)},
        "mode": call.run.mode,
        "dry_run": call.request.dry_run,
        "work": [
            {"exchange": exchange, "dataset": dataset, "tasks": count}
            for (exchange, dataset), count in _counts(plan.tasks).items()
        ],
        "plan": plan_lines(plan.tasks),
    }


def plan_lines(tasks: Sequence[FetchTask]) -> list[dict[str, Any]]:
    """Return a line per series and source: tasks, candles on the grid (None for events), requests, whole range."""
    grouped: dict[tuple[str, ...], list[FetchTask]] = {}
    for task in tasks:
        key = (task.dataset, task.exchange, task.market.symbol, task.timeframe, task.source)
        grouped.setdefault(key, []).append(task)
    names = ("dataset", "exchange", "symbol", "timeframe", "source")
    return [
        {
            **dict(zip(names, key, strict=True)),
            "tasks": len(group),
            "expected": sum(grid_count(task.window, key[3]) for task in group) if key[3] else None,
            "requests": sum(_requests(task) for task in group),
            "start": format_instant(min(task.window.start for task in group)),
            "end": format_instant(max(task.window.end for task in group)),
            "reasons": sorted({task.reason for task in group}),
        }
        for key, group in grouped.items()
    ]


def ingest(call: StepCall) -> dict[str, Any]:
    """Fetch the run's tasks of one exchange and dataset into a sealed manifest.

    Raises:
        UsageError: exchange and dataset are not named.
        UnavailableError: a source gave no answer to some tasks; what answered is sealed and will be loaded.
    """
    if call.exchange is None or call.dataset is None:
        raise UsageError("the step ingest needs --exchange and --dataset")
    summary = fetch_one(call)
    if summary["failed"]:
        raise UnavailableError(fetch_failure(summary))
    return summary


def ingest_all(call: StepCall) -> dict[str, Any]:
    """Fetch all exchanges and datasets of the run one after the other; one that fails does not stop the others."""
    from marketlake.ledger import tasks_of

    fetched, problems = [], []
    for exchange, dataset in _counts(tasks_of(call.connection, call.run.run_id)):
        mine = StepCall(call.settings, call.connection, call.run, exchange, dataset)
        try:
            fetched.append(fetch_one(mine))
        except UsageError:
            raise
        except MarketlakeError as error:
            problems.append(f"{exchange} {dataset}: {error}")
    return {"fetched": fetched, "problems": problems}


def fetch_one(call: StepCall) -> dict[str, Any]:
    """Fetch the call's exchange and dataset and return what came of it; failed tasks are counted, not raised."""
    from marketlake.fetch import fetch

    assert call.exchange is not None
    assert call.dataset is not None
    summary = fetch(call.connection, call.settings, run=call.run, exchange=call.exchange, dataset=call.dataset)
    return asdict(summary)


def fetch_failure(summary: dict[str, Any]) -> str:
    """Return the sentence about the tasks of a fetch that failed."""
    errors = list(summary["errors"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    said = f": {errors[0]}{more}" if errors else ""
    return f"{summary['exchange']} {summary['dataset']}: {summary['failed']} of {summary['tasks']} tasks failed{said}"


def _requests(task: FetchTask) -> int:
    if task.source == "archive":
        return _REQUESTS_OF_AN_ARCHIVE
    if task.source == "rebuilt":
        return 0
    if not task.timeframe:
        return 1
    rows = exchange_named(task.exchange).capabilities.page_rows.get((task.dataset, task.market.market_type), 1000)
    return -(-grid_count(task.window, task.timeframe) // rows)


def _counts(tasks: Iterable[FetchTask]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for task in tasks:
        counts[task.exchange, task.dataset] = counts.get((task.exchange, task.dataset), 0) + 1
    return counts
