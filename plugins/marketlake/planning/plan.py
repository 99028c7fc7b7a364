"""The plan of a run: unfinished work first, then wanted minus settled as fetch tasks, cheapest source first.

`plan_run` reads the ledger and the landing area and changes nothing, so a dry run is the plan itself; `save_plan` makes
it the run's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from marketlake.errors import UsageError, WindowError, one_of
from marketlake.instants import LONGEST_WINDOW, Window, format_instant
from marketlake.landing import LandingArea
from marketlake.ledger import (
    Fact,
    Run,
    apply_facts,
    keep_facts,
    note_manifests_found,
    register_manifest,
    save_tasks,
)
from marketlake.planning.request import choose_series
from marketlake.planning.series_tasks import PlanContext, plan_series
from marketlake.planning.unfinished import Unfinished, find_unfinished
from marketlake.planning.wanted import Series, Wanted
from marketlake.settings import Settings
from marketlake.timeframes import grid_count
from marketlake.work import FetchTask

HOLES = ("none", "due", "all")


@dataclass(frozen=True)
class SeriesPlan:
    """What the plan does for one series. Rows are candles by the grid, None for events."""

    exchange: str
    dataset: str
    symbol: str
    timeframe: str
    window: Window | None
    expected_rows: int | None
    asked_rows: int | None
    archives: int
    rest_ranges: int
    rebuilt_ranges: int
    holes: int

    def summary(self) -> dict[str, Any]:
        """Return the fields, the window as `start` and `end` texts or null."""
        fields = {name: getattr(self, name) for name in ("exchange", "dataset", "symbol", "timeframe")}
        bounds = {
            "start": format_instant(self.window.start) if self.window else None,
            "end": format_instant(self.window.end) if self.window else None,
        }
        counts = ("expected_rows", "asked_rows", "archives", "rest_ranges", "rebuilt_ranges", "holes")
        return fields | bounds | {name: getattr(self, name) for name in counts}


@dataclass(frozen=True)
class Plan:
    """The tasks of a run in the order in which they are fetched, and what else there is to do.

    `facts` say where windows lie outside a market's life and what changed rules open again; `notes` are remarks for
    the person who asked.
    """

    run_id: str
    tasks: tuple[FetchTask, ...]
    series: tuple[SeriesPlan, ...]
    unfinished: Unfinished
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def expected_rows(self) -> int:
        """Candles that the windows of all series hold (ING-35); events are not counted."""
        return sum(item.expected_rows or 0 for item in self.series)

    def summary(self) -> dict[str, Any]:
        """Return the plan as plain data for `--json` and `--dry-run`."""
        return {
            "run_id": self.run_id,
            "tasks": len(self.tasks),
            "tasks_by_source": {
                source: sum(task.source == source for task in self.tasks) for source in ("archive", "rest", "rebuilt")
            },
            "expected_rows": self.expected_rows,
            "asked_rows": sum(item.asked_rows or 0 for item in self.series),
            "series": [item.summary() for item in self.series],
            "unfinished": self.unfinished.summary(),
            "notes": list(self.notes),
        }


def plan_run(
    connection: psycopg.Connection,
    run: Run,
    *,
    settings: Settings,
    datasets: Sequence[str],
    exchanges: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    timeframes: Sequence[str] | None = None,
    source: str | None = None,
    mode: str | None = None,
    check_reissued: bool = False,
    holes: str = "none",
) -> Plan:
    """Return the plan of the run; nothing is written and nobody is called.

    `mode` defaults to the run's. `holes`: `none` asks for the window's open holes whose `retry_at` has passed, `due`
    also for those before the window, `all` for the window's at once (a run by hand). `source` asks that source over the
    whole window, `force` every source, settled or not. `check_reissued` adds the loaded archives of the window.

    Raises:
        UsageError: an unknown name, or a combination that makes no sense.
        WindowError: the window is longer than ten years.
    """
    mode = mode or run.mode
    _check_request(run, mode, source, holes)
    chosen = choose_series(
        connection,
        run,
        settings=settings,
        datasets=datasets,
        exchanges=exchanges,
        symbols=symbols,
        timeframes=timeframes,
    )
    unfinished = find_unfinished(connection, settings.lake_root, window=run.window)
    context = PlanContext(connection, run, settings, mode, source, holes, check_reissued, unfinished)
    tasks, plans, facts = list[FetchTask](), list[SeriesPlan](), list[Fact]()
    for series in chosen.series:
        wanted, found = plan_series(context, series)
        tasks += found
        facts += wanted.facts
        plans.append(_series_plan(series, wanted, found))
    return Plan(run.run_id, tuple(sorted(tasks, key=_order)), tuple(plans), unfinished, tuple(facts), chosen.notes)


def save_plan(connection: psycopg.Connection, plan: Plan, *, kept_in: LandingArea) -> None:
    """Make the plan the run's: register manifests found on disk, record facts, replace the run's tasks.

    Safe to repeat. `kept_in` gets the facts' entries, from which the ledger can be rebuilt.
    """
    for manifest, path in plan.unfinished.sealed:
        register_manifest(connection, manifest, path)
    if plan.unfinished.looked_at is not None:
        note_manifests_found(connection, plan.unfinished.looked_at)
    with connection.transaction(), connection.cursor() as cursor:
        apply_facts(cursor, plan.facts, run_id=plan.run_id)
        save_tasks(connection, plan.run_id, plan.tasks)
        keep_facts(cursor, kept_in, "planned", plan.facts, run_id=plan.run_id)


def _check_request(run: Run, mode: str, source: str | None, holes: str) -> None:
    if mode not in ("incremental", "backfill", "force"):
        raise UsageError(one_of("mode", mode, ("incremental", "backfill", "force")))
    if holes not in HOLES:
        raise UsageError(one_of("holes", holes, HOLES))
    if source is not None and source not in ("archive", "rest"):
        raise UsageError(one_of("source", source, ("archive", "rest")))
    if run.window is None and (source is not None or mode != "incremental"):
        what = f"--source {source}" if source else f"--mode {mode}"
        raise WindowError(f"start and end must be given with {what}: it works on a whole window")
    if run.window is not None and run.window.length > LONGEST_WINDOW:
        raise WindowError(f"a window may be at most 10 years long; {run.window} has {run.window.length.days} days")


def _series_plan(series: Series, wanted: Wanted, tasks: Sequence[FetchTask]) -> SeriesPlan:
    dataset, exchange, symbol, timeframe = series.market
    asked = sum(grid_count(task.window, timeframe) for task in tasks) if timeframe else None
    by_source = Counter(task.source for task in tasks)
    return SeriesPlan(
        exchange,
        dataset,
        symbol,
        timeframe,
        wanted.clipped,
        wanted.expected_rows,
        asked,
        by_source["archive"],
        by_source["rest"],
        by_source["rebuilt"],
        len(wanted.holes),
    )


def _order(task: FetchTask) -> tuple[bool, bool, str, str, str, str, Window]:
    is_daily = task.window.length.days < 2
    market = (task.exchange, task.dataset, task.market.symbol, task.timeframe)
    return task.source != "archive", is_daily, *market, task.window
