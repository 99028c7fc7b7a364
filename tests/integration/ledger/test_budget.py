"""Tests for ``marketlake.ledger.budget`` (ING-28)."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

import psycopg
import pytest

from marketlake.ledger import SharedBudget, block_until, budgets, connect, draw, report_used, set_limit
from marketlake.settings import Settings

MINUTE = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ROW = ("binance", "spot")


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def draw_until_refused(settings: Settings, now: datetime) -> int:
    """What one of several processes does: draw as fast as it can; return the weight it got."""
    got = 0
    with connect(settings) as connection:
        while draw(connection, *ROW, 20, 0.8, now=now) == 0:
            got += 20
    return got


def test_processes_that_draw_at_once_never_get_more_than_the_ceiling_in_any_minute(
    connection: psycopg.Connection, settings: Settings
) -> None:
    set_limit(connection, *ROW, 6000)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        for minute in range(2):
            now = MINUTE + minute * seconds(60) + seconds(10)
            got = list(pool.map(draw_until_refused, [settings] * 4, [now] * 4))

            assert sum(got) == 4800


def test_a_refused_draw_takes_nothing_and_says_how_long_until_the_exchanges_next_minute(
    connection: psycopg.Connection,
) -> None:
    set_limit(connection, *ROW, 100)
    assert draw(connection, *ROW, 70, 0.8, now=MINUTE + seconds(40)) == 0
    assert draw(connection, *ROW, 20, 0.8, now=MINUTE + seconds(45)) == 15.25
    assert budgets(connection)[0].used_weight == 70
    assert draw(connection, *ROW, 20, 0.8, now=MINUTE + seconds(60.25)) == 0


def test_a_request_heavier_than_the_ceiling_goes_alone_in_its_minute(connection: psycopg.Connection) -> None:
    set_limit(connection, *ROW, 100)
    assert draw(connection, *ROW, 250, 0.8, now=MINUTE) == 0
    assert draw(connection, *ROW, 1, 0.8, now=MINUTE + seconds(1)) > 0


def test_what_the_exchange_says_was_used_leaves_only_the_rest(connection: psycopg.Connection) -> None:
    set_limit(connection, *ROW, 100)
    draw(connection, *ROW, 10, 0.8, now=MINUTE)
    report_used(connection, *ROW, 75, now=MINUTE + seconds(5))

    assert draw(connection, *ROW, 10, 0.8, now=MINUTE + seconds(6)) == 1.25
    assert draw(connection, *ROW, 5, 0.8, now=MINUTE + seconds(6)) == 0
    assert draw(connection, *ROW, 5, 0.8, now=MINUTE + seconds(6)) > 0


def test_without_room_one_request_every_two_seconds_asks_whether_the_exchanges_minute_is_over(
    connection: psycopg.Connection,
) -> None:
    set_limit(connection, *ROW, 1000)
    report_used(connection, *ROW, 790, now=MINUTE + seconds(5))

    got = [at for at in range(5, 25) if draw(connection, *ROW, 20, 0.8, now=MINUTE + seconds(at)) == 0]
    assert got == [7, 9, 11, 13, 15, 17, 19, 21, 23]

    # The limit itself is never passed: 790 + 9 * 20 is as near as it can be.
    assert [at for at in range(25, 60) if draw(connection, *ROW, 50, 0.8, now=MINUTE + seconds(at)) == 0] == []

    report_used(connection, *ROW, 20, now=MINUTE + seconds(25))
    got = [at for at in range(25, 55) if draw(connection, *ROW, 20, 0.8, now=MINUTE + seconds(at)) == 0]
    # What was drawn here in the machine's minute is left: 800 - 9 * 20.
    assert len(got) == 30


def test_a_report_brings_the_limit_and_leaves_the_machines_minute(connection: psycopg.Connection) -> None:
    draw(connection, *ROW, 900, 0.8, now=MINUTE)
    report_used(connection, *ROW, 3, 6000, now=MINUTE + seconds(61))

    [row] = budgets(connection)
    assert (row.window_start, row.used_weight, row.limit_weight) == (MINUTE, 900, 6000)


@pytest.mark.parametrize(("limit", "weight", "begins"), [(6000, 20, 13), (100, 2, 13), (100, 5, 47), (1000, 250, 30)])
def test_an_exchange_whose_minutes_begin_elsewhere_gives_each_of_its_minutes_once(
    connection: psycopg.Connection, limit: int, weight: int, begins: int
) -> None:
    """A fetch that never stops, beside an exchange that counts from another second than the machine's."""
    set_limit(connection, *ROW, limit)
    spent = dict[int, int]()
    for second in range(5 * 60):
        at = MINUTE + seconds(second)
        while draw(connection, *ROW, weight, 0.8, now=at) == 0:
            its_minute = (second - begins) // 60
            spent[its_minute] = spent.get(its_minute, 0) + weight
            report_used(connection, *ROW, spent[its_minute], now=at)

    whole = [spent[its_minute] for its_minute in range(4)]
    assert min(whole) > 0.8 * limit - weight
    assert max(whole) <= limit


def test_a_block_stops_everybody_until_its_end_and_a_longer_one_stays(connection: psycopg.Connection) -> None:
    block_until(connection, *ROW, MINUTE + seconds(120), "HTTP 418")
    block_until(connection, *ROW, MINUTE + seconds(60), "HTTP 429")

    assert draw(connection, *ROW, 1, 0.8, now=MINUTE) == 120
    assert budgets(connection)[0].reason == "HTTP 418"
    assert draw(connection, *ROW, 1, 0.8, now=MINUTE + seconds(120)) == 0
    assert draw(connection, "binance", "usdm", 1, 0.8, now=MINUTE) == 0


def test_a_clock_slightly_behind_shares_the_newest_minute_and_one_set_back_starts_afresh(
    connection: psycopg.Connection,
) -> None:
    set_limit(connection, *ROW, 100)
    draw(connection, *ROW, 80, 0.8, now=MINUTE)

    assert draw(connection, *ROW, 10, 0.8, now=MINUTE - seconds(1)) > 0
    assert draw(connection, *ROW, 10, 0.8, now=MINUTE - timedelta(days=1000)) == 0


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


def test_an_answer_that_counts_the_minute_before_costs_seconds_and_not_the_minute(
    connection: psycopg.Connection,
) -> None:
    clock = SetClock(MINUTE + seconds(59.9))
    budget = SharedBudget(connection, "binance", ceiling=0.8, clock=clock)
    budget.set_limit("spot", 100)
    budget.draw("spot", 10)
    clock.at = MINUTE + seconds(60.1)

    budget.report_used("spot", 79)

    assert budget.draw("spot", 10) == 2.25
    clock.at += seconds(2.25)
    assert budget.draw("spot", 10) == 0


def test_a_client_draws_on_the_clock_of_its_run(connection: psycopg.Connection) -> None:
    budget = SharedBudget(connection, "binance", ceiling=0.5, clock=SetClock(MINUTE))
    budget.set_limit("spot", 100)
    assert budget.draw("spot", 30) == 0
    budget.report_used("spot", 50)
    assert budget.draw("spot", 30) == 60.25
    budget.block_until("usdm", MINUTE + seconds(90), "HTTP 429")
    assert budget.draw("usdm", 1) == 90

    assert {row.scope: row.used_weight for row in budgets(connection)} == {"spot": 30, "usdm": 0}
