"""Tests for ``marketlake.planning.plan``: what a run asks for, given what the ledger knows."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from marketlake.errors import (
    MarketlakeError,
    UnknownExchangeError,
    UnknownNameError,
    UnknownSymbolError,
    UsageError,
    WindowError,
)
from marketlake.instants import parse_instant
from marketlake.ledger import (
    Run,
    create_run,
    high_watermark,
    tasks_of,
)
from marketlake.planning.plan import plan_run
from marketlake.settings import Settings
from tests.integration.planning.planner import NOW, Planner, brief, short, span


def test_a_first_plan_takes_months_and_days_from_archives_and_the_tail_by_rest(planner: Planner) -> None:
    plan = planner.plan(("2025-02-01", "2025-03-11"))

    assert brief(plan.tasks)[:2] == [("archive", "02-01", "03-01", "new"), ("archive", "03-01", "03-02", "new")]
    assert brief(plan.tasks)[-1] == ("rest", "03-09", "03-10 12:00", "new")
    assert len(plan.tasks) == 1 + 8 + 1
    assert plan.tasks[0].archive_path == "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-02.zip"
    assert all(task.may_fall_back == (task.source == "archive") for task in plan.tasks)


def test_a_settled_range_is_asked_for_by_nobody(planner: Planner) -> None:
    planner.bring(("2025-03-09", "2025-03-10"))

    assert planner.plan(("2025-03-09", "2025-03-10")).tasks == ()


def test_only_candles_that_are_closed_by_the_runs_clock_are_wanted(planner: Planner) -> None:
    plan = planner.plan(("2025-03-10", "2025-03-11"), timeframes=["1m", "1h", "4h", "1d"], now="2025-03-10T12:30:30Z")

    assert {task.timeframe: short(task.window.end) for task in plan.tasks} == {
        "1m": "03-10 12:30",
        "1h": "03-10 12:00",
        "4h": "03-10 12:00",
    }


def test_a_window_that_lies_ahead_of_the_clock_wants_nothing(planner: Planner) -> None:
    plan = planner.plan(("2025-04-01", "2025-04-02"))

    assert (plan.tasks, plan.expected_rows, plan.facts) == ((), 0, ())


def test_a_market_is_wanted_from_its_listing_on_and_what_lies_before_is_not_listed(planner: Planner) -> None:
    plan = planner.plan(("2025-01-01", "2025-02-01"), symbols=["NEW/USDT"])

    assert brief(plan.tasks) == [("archive", "01-15 10:00", "02-01", "new")]
    assert plan.tasks[0].archive_path == "data/spot/monthly/klines/NEWUSDT/1h/NEWUSDT-1h-2025-01.zip"
    assert [(fact.state, fact.cause, short(fact.window.end)) for fact in plan.facts] == [
        ("not_listed", "before_listing", "01-15 10:00")
    ]


def test_a_market_is_wanted_up_to_its_delisting(planner: Planner) -> None:
    plan = planner.plan(("2025-01-09", "2025-01-12"), symbols=["OLD/USDT"])

    assert (short(plan.tasks[-1].window.end), [fact.cause for fact in plan.facts]) == (
        "01-10 12:00",
        ["after_delisting"],
    )


def test_the_first_instant_of_the_exchange_bounds_every_market(planner: Planner) -> None:
    plan = planner.plan(("2017-08-01", "2017-09-01"))

    assert [(fact.state, fact.cause) for fact in plan.facts] == [("not_listed", "before_first_instant")]
    assert [task.window.start for task in plan.tasks] == [parse_instant("2017-08-17")]


def test_saved_facts_settle_what_lies_before_the_listing_without_moving_a_watermark(planner: Planner) -> None:
    plan = planner.plan(("2025-01-01", "2025-02-01"), symbols=["NEW/USDT"])
    planner.save(plan)

    again = planner.plan(("2025-01-01", "2025-02-01"), symbols=["NEW/USDT"])

    assert (again.facts, brief(again.tasks)) == ((), brief(plan.tasks))
    assert high_watermark(planner.connection, "ohlcv", "binance", "NEW/USDT", "1h") is None


def test_funding_comes_by_month_and_the_running_hour_waits(planner: Planner) -> None:
    plan = planner.plan(("2025-02-01", "2025-03-11"), datasets=["funding_rates"], symbols=["BTC/USDT:USDT"])

    assert brief(plan.tasks) == [("archive", "02-01", "03-01", "new"), ("rest", "03-01", "03-10 12:00", "new")]
    assert {task.timeframe for task in plan.tasks} == {""}


def test_expected_rows_are_computed_one_symbol_day_over_six_timeframes_is_1855(planner: Planner) -> None:
    day = planner.plan(("2025-02-01", "2025-02-02"), timeframes=None)
    week = planner.plan(("2025-02-01", "2025-02-08"), timeframes=None, symbols=["BTC/USDT", "ETH/USDT"])

    assert (day.expected_rows, week.expected_rows) == (1855, 25_970)
    assert sum(item.asked_rows or 0 for item in day.series) == 1855


def test_after_candles_up_to_2025_12_14_2300_the_first_request_starts_at_that_candle(planner: Planner) -> None:
    planner.bring(("2025-12-14", "2025-12-15"), now="2025-12-15T00:10:00Z")

    for window in (None, ("2025-12-15", "2025-12-16")):
        plan = planner.plan(window, now="2025-12-15T03:30:00Z")
        assert brief(plan.tasks) == [("rest", "12-14 23:00", "12-15 03:00", "new")]


def test_there_is_no_look_back_without_a_new_range(planner: Planner) -> None:
    planner.bring(("2025-12-14", "2025-12-15"), now="2025-12-15T00:10:00Z")

    assert planner.plan(("2025-12-14", "2025-12-15"), now="2025-12-15T00:30:00Z").tasks == ()


def test_without_a_window_a_market_starts_at_the_first_instant_and_later_at_its_watermark(planner: Planner) -> None:
    assert planner.plan(None).tasks[0].window.start == parse_instant("2017-08-17")
    planner.bring(("2025-03-01", "2025-03-09"))

    assert [short(task.window.start) for task in planner.plan(None).tasks] == ["03-08 23:00"]


DAY = ("2025-03-01", "2025-03-02")


def test_a_plan_changes_nothing_until_it_is_saved_and_may_be_saved_twice(planner: Planner) -> None:
    plan = planner.plan(DAY)
    assert tasks_of(planner.connection, plan.run_id) == []

    for _ in range(2):
        planner.save(plan)
        assert tasks_of(planner.connection, plan.run_id) == list(plan.tasks)


def test_the_same_plan_gives_its_tasks_the_same_ids_and_each_its_own(planner: Planner) -> None:
    window = ("2025-01-01", "2025-03-10")
    first, second = planner.plan(window, timeframes=None), planner.plan(window, timeframes=None)

    ids = [task.task_id for task in first.tasks]
    assert ids == [task.task_id for task in second.tasks]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("request_", "error", "text"),
    [
        ({"exchanges": ["mtgox"]}, UnknownExchangeError, "exchange must be one of .*binance.*; was 'mtgox'"),
        (
            {"datasets": ["candles"]},
            UnknownNameError,
            "dataset must be one of ohlcv, funding_rates, trades; was 'candles'",
        ),
        ({"datasets": []}, UsageError, "dataset must be one of"),
        ({"timeframes": ["60"]}, UnknownNameError, "timeframe must be one of 1m, 5m, 15m, 1h, 4h, 1d; was '60'"),
        ({"symbols": ["BTC/USDC"]}, UnknownSymbolError, "'BTC/USDC' is not listed by binance; did you mean BTC/USDT"),
        ({"symbols": ["BTC'USDT"]}, UnknownSymbolError, "is not a symbol"),
        ({"source": "tape"}, UsageError, "source must be one of archive, rest; was 'tape'"),
        ({"holes": "some"}, UsageError, "holes must be one of none, due, all"),
    ],
)
def test_a_wrong_name_stops_the_plan_and_says_what_is_right(
    planner: Planner, request_: dict[str, Any], error: type[MarketlakeError], text: str
) -> None:
    with pytest.raises(error, match=text):
        planner.plan(DAY, **request_)


def test_a_window_over_ten_years_is_refused(planner: Planner) -> None:
    with pytest.raises(WindowError, match="at most 10 years long"):
        planner.plan(("2014-01-01", "2025-01-01"))


@pytest.mark.parametrize("request_", [{"mode": "force"}, {"mode": "backfill"}, {"source": "rest"}])
def test_a_request_for_a_whole_window_needs_one(planner: Planner, request_: dict[str, Any]) -> None:
    with pytest.raises(WindowError, match="start and end must be given with --"):
        planner.plan(None, **request_)


def test_a_ledger_without_markets_says_which_step_brings_them(
    connection: psycopg.Connection, settings: Settings
) -> None:
    run = create_run(connection, Run("r", "cli", span(*DAY), "incremental", {}, NOW))

    with pytest.raises(UsageError, match=r"holds no markets of binance yet; the step open_run"):
        plan_run(connection, run, settings=settings, datasets=["ohlcv"])


def test_a_symbol_that_fits_only_one_of_several_datasets_is_remarked_on(planner: Planner) -> None:
    plan = planner.plan(DAY, datasets=["ohlcv", "funding_rates"])

    assert {task.dataset for task in plan.tasks} == {"ohlcv"}
    assert "BTC/USDT:USDT" in plan.notes[0]


def test_without_names_the_settings_decide(planner: Planner) -> None:
    plan = planner.plan(DAY, datasets=["ohlcv", "funding_rates"], symbols=None, timeframes=None)

    markets = {(item.dataset, item.symbol) for item in plan.series}
    assert markets == {
        ("ohlcv", "BTC/USDT"),
        ("ohlcv", "ETH/USDT"),
        ("funding_rates", "BTC/USDT:USDT"),
        ("funding_rates", "ETH/USDT:USDT"),
    }
    assert len(plan.series) == 2 * 6 + 2


def test_a_summary_is_plain_data(planner: Planner) -> None:
    summary = planner.plan(DAY).summary()

    assert summary["tasks_by_source"] == {"archive": 1, "rest": 0, "rebuilt": 0}
    assert summary["series"] == [
        {
            "exchange": "binance",
            "dataset": "ohlcv",
            "symbol": "BTC/USDT",
            "timeframe": "1h",
            "start": "2025-03-01T00:00:00Z",
            "end": "2025-03-02T00:00:00Z",
            "expected_rows": 24,
            "asked_rows": 24,
            "archives": 1,
            "rest_ranges": 0,
            "rebuilt_ranges": 0,
            "holes": 0,
        }
    ]
