"""Plan, a run with nothing to do and coverage cost what changed, not what ever was: counted, never timed."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from marketlake import ledger
from marketlake.embedded_postgres import ensure_running
from marketlake.instants import DAY, Window, format_instant, parse_instant
from marketlake.ledger import MarketFilter
from marketlake.quality.coverage_report import coverage_report
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.histories import Past
from tests.world import World

END = parse_instant("2025-03-04")
CLOCK = END + DAY + timedelta(hours=2)
LAST_DAY = Window(END - DAY, END)
NEXT_DAY = Window(END, END + DAY)
GROWTH = (1, 4, 16)
# What is counted may differ by a page of an index, not by a day of history.
SLACK = 25

_opened: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_audit)


@dataclass(frozen=True)
class Cost:
    """Rows and index entries that Postgres read, by table and index, and files of the lake that were opened."""

    read: Counter[str]
    files: list[str]

    @property
    def rows(self) -> int:
        return self.read.total()


def cost_of(world: World, work: Callable[[], object]) -> Cost:
    """Do the work and return what it read; the lake's tables are out of reach meanwhile, so nothing of them is."""
    global _opened
    bronze, aside = world.root / "bronze", world.root / "bronze-out-of-reach"
    with suppress(FileNotFoundError):
        bronze.rename(aside)
    before, _opened = rows_read(world), []
    try:
        work()
    finally:
        opened, _opened = _opened, None
        with suppress(FileNotFoundError):
            aside.rename(bronze)
    probes = [path for path in opened if path.startswith(str(world.root)) and ".writable_" not in path]
    return Cost(rows_read(world) - before, probes)


def rows_read(world: World) -> Counter[str]:
    """Return how many rows and index entries were ever read of our tables, once all backends have told."""
    query = (
        "select relname::text, seq_tup_read from pg_stat_user_tables union all"
        " select indexrelname::text, idx_tup_read from pg_stat_user_indexes"
    )
    told = list[Counter[str]]()
    # A connection of the ledger would look at the version of its schema, which counts too.
    with psycopg.connect(ensure_running(world.settings).url, autocommit=True) as connection:
        while len(told) < 3 or not told[-3] == told[-2] == told[-1]:
            time.sleep(0.1)
            told.append(Counter(dict(connection.execute(query).fetchall())))
    return told[-1]


def plan(world: World, past: Past) -> None:
    outcome = past.run(world.settings, NEXT_DAY, dry_run=True)
    assert len(outcome.plan["series"]) == past.symbols
    assert outcome.plan["tasks"] == past.symbols


def do_nothing(world: World, past: Past) -> None:
    outcome = past.run(world.settings, LAST_DAY)
    assert (outcome.plan["tasks"], outcome.results["load_bronze"]["manifests"]) == (0, 0)


def coverage(world: World, window: Window | None) -> int:
    with world.database() as connection:
        markets = coverage_report(connection, MarketFilter(window=window))
    return sum(len(market.holes) for market in markets)


def in_ledger(world: World, work: Callable[[psycopg.Connection], object]) -> None:
    with ledger.connect(world.settings) as connection:
        work(connection)


@pytest.mark.parametrize(
    ("symbols", "days"), [pytest.param(3, 2, marks=pytest.mark.sample), (50, 23)], ids=["small", "50 symbols, a year"]
)
def test_plan_idle_run_and_coverage_read_what_changed_whatever_the_history(
    make_world: MakeWorld, symbols: int, days: int
) -> None:
    world = make_world(SyntheticMarket(1), format_instant(CLOCK))
    past = Past(symbols, END, "synthetic:1")
    in_ledger(world, lambda connection: past.begin(connection, now=CLOCK))
    # A small table is read whole because that is cheapest; what counts is that nothing has to be.
    name = world.settings.database.database
    in_ledger(world, lambda connection: connection.execute(f'alter database "{name}" set enable_seqscan = off'))
    costs: dict[str, list[Cost]] = {}
    told, written = list[int](), 0

    for factor in GROWTH:
        new = range(written, days * factor)
        in_ledger(world, lambda connection, new=new: past.write_days(connection, world.settings, new))
        written = days * factor
        past.run(world.settings, LAST_DAY, dry_run=True)  # what is done once after a change
        for what, work in {
            "plan": lambda: plan(world, past),
            "a run with nothing to do": lambda: do_nothing(world, past),
            "coverage of a day": lambda: coverage(world, LAST_DAY),
        }.items():
            costs.setdefault(what, []).append(cost_of(world, work))
        told.append(coverage(world, None))
        costs.setdefault("coverage", []).append(cost_of(world, lambda: coverage(world, None)))

    whole = costs.pop("coverage")
    for what, (once, *more) in costs.items():
        for cost in more:
            assert cost.rows <= once.rows + SLACK, (what, cost.read - once.read)
            assert len(cost.files) <= len(once.files), (what, cost.files)
    # The whole report lists the holes, a tile before and after each: it reads what it tells.
    assert told[-1] >= symbols * days * GROWTH[-1] // 5 - symbols
    for holes, cost in zip(told, whole, strict=True):
        assert cost.rows <= 2.5 * holes + 10 * symbols + SLACK, (told, whole)
