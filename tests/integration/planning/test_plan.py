"""Tests for ``marketlake.planning.plan``: what a run asks for, given what the ledger knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from marketlake.datasets import dataset_named
from marketlake.errors import (
    MarketlakeError,
    UnknownExchangeError,
    UnknownNameError,
    UnknownSymbolError,
    UsageError,
    WindowError,
)
from marketlake.instants import Window, parse_instant
from marketlake.landing import LandingArea, seal_manifest
from marketlake.ledger import (
    ArchiveFile,
    Change,
    Fact,
    LoadedArchive,
    LoadRecord,
    Run,
    create_run,
    facts_of_answer,
    facts_of_refusal,
    high_watermark,
    manifests_waiting,
    record_archive,
    record_failure,
    record_load,
    register_manifest,
    rejection_cause,
    store_instruments,
    tasks_of,
)
from marketlake.planning.plan import Plan, plan_run, save_plan
from marketlake.rules import rules_for
from marketlake.settings import Settings
from marketlake.work import Answer, FetchTask, Instrument, Manifest, Market

BTC = ("ohlcv", "binance", "BTC/USDT", "1h")
SPOT = Market("spot", "BTC/USDT", "BTCUSDT")
HOUR = timedelta(hours=1)
LISTED = [
    Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT"),
    Instrument("binance", "ETH/USDT", "ETHUSDT", "spot", "ETH", "USDT"),
    Instrument(
        "binance", "NEW/USDT", "NEWUSDT", "spot", "NEW", "USDT", listed_at=parse_instant("2025-01-15T10:30:00Z")
    ),
    Instrument(
        "binance", "OLD/USDT", "OLDUSDT", "spot", "OLD", "USDT", delisted_at=parse_instant("2025-01-10T12:00:00Z")
    ),
    Instrument("binance", "BTC/USDT:USDT", "BTCUSDT", "perpetual", "BTC", "USDT", "USDT"),
    Instrument("binance", "ETH/USDT:USDT", "ETHUSDT", "perpetual", "ETH", "USDT", "USDT"),
]
NOW = parse_instant("2025-03-10T12:30:00Z")


class Planner:
    """Plans runs over one ledger and records what they would have brought."""

    def __init__(self, connection: psycopg.Connection, settings: Settings) -> None:
        self.connection = connection
        self.settings = settings
        self.loads = 0
        self.runs = 0
        store_instruments(connection, "binance", LISTED, NOW)

    def run(self, window: Window | None, *, now: str = "", mode: str = "incremental") -> Run:
        self.runs += 1
        at = parse_instant(now) if now else NOW
        return create_run(self.connection, Run(f"cli__{self.runs}", "cli", window, mode, {}, at))

    def plan(self, window: tuple[str, str] | None, *, now: str = "", **request: Any) -> Plan:
        run = self.run(span(*window) if window else None, now=now, mode=request.get("mode", "incremental"))
        plain: dict[str, Any] = {"datasets": ["ohlcv"], "symbols": ["BTC/USDT"], "timeframes": ["1h"]}
        return plan_run(self.connection, run, settings=self.settings, **(plain | request))

    def bring(
        self,
        *answered: tuple[str, str],
        over: tuple[str, str] | None = None,
        source: str = "rest",
        now: str = "",
        timeframe: str = "1h",
    ) -> None:
        """Record a load whose answer over a window had rows in the answered ranges."""
        window = span(*(over or answered[0]))
        at = parse_instant(now) if now else NOW
        facts = facts_of_answer(
            Answer("t", SPOT, timeframe, source, window, "answered", at),
            [span(*bounds) for bounds in answered],
            [],
            exchange="binance",
            dataset=dataset_named("ohlcv"),
            now=at,
        )
        self.record(*facts)

    def record(self, *facts: Fact, **changes: Any) -> None:
        self.loads += 1
        record = LoadRecord(f"l{self.loads}", "bronze.ohlcv", "ohlcv", "binance", None, "r", facts=tuple(facts))
        record_load(self.connection, replace(record, **changes))


@pytest.fixture
def planner(connection: psycopg.Connection, settings: Settings) -> Planner:
    """A planner over an empty ledger that knows the markets."""
    return Planner(connection, settings)


def span(start: str, end: str) -> Window:
    return Window(parse_instant(start), parse_instant(end))


def brief(tasks: tuple[FetchTask, ...]) -> list[tuple[str, str, str, str]]:
    """Tasks as (source, start, end, reason), instants as short as they read well."""
    return [(task.source, short(task.window.start), short(task.window.end), task.reason) for task in tasks]


def short(instant: Any) -> str:
    return str(instant.strftime("%m-%d" if instant.hour == instant.minute == 0 else "%m-%d %H:%M"))


# What is wanted ------------------------------------------------------------------------------------------------------


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
    save_plan(planner.connection, plan)

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


# Look-back and watermark ---------------------------------------------------------------------------------------------


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


# Holes ---------------------------------------------------------------------------------------------------------------

DAY = ("2025-03-01", "2025-03-02")
HOLED = (("2025-03-01", "2025-03-01T02:00:00Z"), ("2025-03-01T04:00:00Z", "2025-03-02"))


@pytest.mark.parametrize(
    ("holes", "now", "asked"),
    [
        pytest.param("none", "2025-03-10T23:00:00Z", False, id="scheduled, on the same day"),
        pytest.param("none", "2025-03-11T00:00:00Z", True, id="scheduled, on the next day"),
        pytest.param("due", "2025-03-10T23:00:00Z", False, id="daily, on the same day"),
        pytest.param("all", "2025-03-10T12:31:00Z", True, id="by hand, at once"),
    ],
)
def test_a_scheduled_run_waits_for_an_open_hole_and_a_run_by_hand_does_not(
    planner: Planner, holes: str, now: str, asked: bool
) -> None:
    planner.bring(*HOLED, over=DAY)

    assert bool(planner.plan(DAY, now=now, holes=holes).tasks) == asked


def test_a_hole_is_asked_from_the_archive_of_its_day_and_then_by_rest(planner: Planner) -> None:
    planner.bring(*HOLED, over=DAY)
    first = planner.plan(DAY, holes="all")
    planner.bring(over=("2025-03-01T02:00:00Z", "2025-03-01T04:00:00Z"), source="archive")
    second = planner.plan(DAY, holes="all")

    assert brief(first.tasks) == [("archive", "03-01 02:00", "03-01 04:00", "hole")]
    assert first.tasks[0].archive_path == "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-03-01.zip"
    assert brief(second.tasks) == [("rest", "03-01 02:00", "03-01 04:00", "hole")]


def test_only_the_daily_run_also_asks_for_due_holes_before_its_window(planner: Planner) -> None:
    planner.bring(*HOLED, over=DAY)
    window, later = ("2025-03-11", "2025-03-12"), "2025-03-11T01:00:00Z"

    asked = {holes: brief(planner.plan(window, now=later, holes=holes).tasks) for holes in ("none", "due", "all")}

    hole = ("archive", "03-01 02:00", "03-01 04:00", "hole")
    assert hole in asked["due"]
    assert hole not in asked["none"] + asked["all"]


def test_a_settled_hole_is_asked_for_by_nobody(planner: Planner) -> None:
    for number in range(3):
        planner.bring(*HOLED, over=DAY, now=f"2025-03-1{number}T12:00:00Z")

    assert planner.plan(DAY, holes="all", now="2025-03-20").tasks == ()


def test_a_failed_range_is_due_at_once_and_planned_like_a_new_one(planner: Planner) -> None:
    planner.record(
        Fact("ohlcv", "binance", "BTC/USDT", "1h", span(*DAY), "failed", "archive", "fetch_failed", retry_at=NOW)
    )

    assert brief(planner.plan(DAY).tasks) == [("archive", "03-01", "03-02", "hole")]


def test_refused_rows_are_fetched_anew_only_by_force(planner: Planner) -> None:
    answer = Answer("t", SPOT, "1h", "rest", span(*DAY), "answered", NOW)
    planner.record(*facts_of_refusal(answer, exchange="binance", dataset=dataset_named("ohlcv"), now=NOW))

    assert planner.plan(DAY, holes="all").tasks == ()
    assert brief(planner.plan(DAY, mode="force").tasks) == [("archive", "03-01", "03-02", "force")]


def test_what_was_rejected_for_good_is_asked_for_again_once_the_rules_change(planner: Planner) -> None:
    now_valid = rules_for(dataset_named("ohlcv"), planner.settings.quality).version
    hole = span("2025-03-01T02:00:00Z", "2025-03-01T03:00:00Z")
    for version in (now_valid, "v0"):
        planner.record(Fact(*BTC, window=hole, state="revoked", cause="restored"))
        planner.record(Fact(*BTC, window=hole, state="rejected", source="rest", cause=rejection_cause(version)))
        planner.bring(("2025-03-01", "2025-03-01T02:00:00Z"), ("2025-03-01T03:00:00Z", "2025-03-02"), over=DAY)
        plan = planner.plan(DAY)
        assert bool(plan.tasks) == (version == "v0")

    assert [(fact.state, fact.cause, fact.window) for fact in plan.facts] == [("revoked", "rules_changed", hole)]
    save_plan(planner.connection, plan)
    again = planner.plan(DAY)
    assert (brief(again.tasks), again.facts) == ([("rest", "03-01 02:00", "03-01 03:00", "new")], ())


def test_many_small_holes_of_a_day_that_is_not_published_are_one_request(planner: Planner) -> None:
    window = ("2025-03-10", "2025-03-10T10:00:00Z")
    present = [(f"2025-03-10T0{hour}:00:00Z", f"2025-03-10T0{hour}:59:00Z") for hour in range(9)]
    planner.bring(*present, over=window, timeframe="1m")

    plan = planner.plan(window, timeframes=["1m"], holes="all")

    assert brief(plan.tasks) == [("rest", "03-10 00:59", "03-10 10:00", "hole")]


# Requests beyond what is missing -------------------------------------------------------------------------------------


def test_force_asks_for_the_whole_window_again(planner: Planner) -> None:
    planner.bring(("2025-03-08", "2025-03-10"))

    assert brief(planner.plan(("2025-03-08", "2025-03-10"), mode="force").tasks) == [
        ("archive", "03-08", "03-09", "force"),
        ("rest", "03-09", "03-10", "force"),
    ]


@pytest.mark.parametrize(("source", "count"), [("archive", 2), ("rest", 1)])
def test_a_named_source_alone_is_asked_over_the_whole_window(planner: Planner, source: str, count: int) -> None:
    window = ("2025-03-08", "2025-03-09T12:00:00Z")
    planner.bring(window)

    plan = planner.plan(window, source=source)

    assert {(task.source, task.reason, task.may_fall_back) for task in plan.tasks} == {(source, "source", False)}
    assert len(plan.tasks) == count
    assert sum((task.window.length for task in plan.tasks), timedelta(0)) == 36 * HOUR


def loaded_archive(planner: Planner, status: str = "verified") -> str:
    path = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-03-01.zip"
    period = span(*DAY)
    market = ("BTC/USDT", "BTCUSDT", "1h", period.start, period.end)
    record_archive(
        planner.connection,
        ArchiveFile("binance", path, "ohlcv", *market, status, published_sha256="aa", checked_at=NOW),
    )
    if status == "verified":
        planner.record(archives=(LoadedArchive(path, "aa", 24, period.start, period.end, NOW),))
    return path


def test_loaded_archives_of_the_window_are_asked_for_their_checksum_on_request_only(planner: Planner) -> None:
    path = loaded_archive(planner)
    planner.bring(DAY)

    assert planner.plan(DAY).tasks == ()
    [task] = planner.plan(DAY, check_reissued=True).tasks
    assert (task.source, task.reason, task.archive_path, task.may_fall_back) == ("archive", "reissue", path, False)
    assert planner.plan(("2025-03-02", "2025-03-02T01:00:00Z"), check_reissued=True).tasks[0].reason == "new"


def test_an_archive_known_to_be_absent_goes_to_rest_for_a_day(planner: Planner) -> None:
    loaded_archive(planner, "absent")

    assert [task.source for task in planner.plan(DAY).tasks] == ["rest"]
    assert [task.source for task in planner.plan(DAY, now="2025-03-11T12:30:00Z").tasks] == ["archive"]


# Unfinished work -----------------------------------------------------------------------------------------------------


def sealed(planner: Planner, status: str = "answered") -> tuple[Manifest, Any]:
    answer = Answer("t", SPOT, "1h", "rest", span(*DAY), status, NOW)
    manifest = Manifest("cli__0", "binance", "ohlcv", "recorded", 0.0, NOW, (answer,))
    area = LandingArea(planner.settings.lake_root)
    path = seal_manifest(area, manifest, sealed_at=NOW)
    return replace(manifest, sealed_at=NOW), path


def test_a_manifest_that_was_sealed_but_not_registered_is_found_and_its_window_is_not_fetched_again(
    planner: Planner,
) -> None:
    manifest, _ = sealed(planner)

    plan = planner.plan(DAY)
    assert (plan.tasks, plan.unfinished.summary()["sealed"]) == ((), 1)
    save_plan(planner.connection, plan)

    assert [row.manifest_id for row in manifests_waiting(planner.connection)] == [manifest.manifest_id]
    again = planner.plan(DAY)
    assert (again.tasks, again.unfinished.summary()["sealed"], again.unfinished.summary()["waiting"]) == ((), 0, 1)


def test_a_waiting_manifest_whose_answer_failed_keeps_nobody_from_fetching(planner: Planner) -> None:
    manifest, path = sealed(planner, "failed")
    register_manifest(planner.connection, manifest, path)

    assert len(planner.plan(DAY).tasks) == 1


def test_refused_manifests_unpublished_changes_and_unbuilt_publications_are_counted(planner: Planner) -> None:
    manifest, path = sealed(planner)
    register_manifest(planner.connection, manifest, path)
    record_failure(planner.connection, manifest.manifest_id, "BTC/USDT: 12 of 100 rows", state="refused")
    planner.record(changes=(Change("ohlcv", "binance", "BTC/USDT", "1h", span(*DAY)),))

    summary = planner.plan(DAY).unfinished.summary()
    elsewhere = planner.plan(("2025-02-01", "2025-02-02")).unfinished.summary()

    assert summary == {"sealed": 0, "waiting": 0, "refused": 1, "changes": 1, "publications": 0}
    assert elsewhere["refused"] == 0


def test_a_plan_changes_nothing_until_it_is_saved_and_may_be_saved_twice(planner: Planner) -> None:
    plan = planner.plan(DAY)
    assert tasks_of(planner.connection, plan.run_id) == []

    for _ in range(2):
        save_plan(planner.connection, plan)
        assert tasks_of(planner.connection, plan.run_id) == list(plan.tasks)


def test_the_same_plan_gives_its_tasks_the_same_ids_and_each_its_own(planner: Planner) -> None:
    window = ("2025-01-01", "2025-03-10")
    first, second = planner.plan(window, timeframes=None), planner.plan(window, timeframes=None)

    ids = [task.task_id for task in first.tasks]
    assert ids == [task.task_id for task in second.tasks]
    assert len(set(ids)) == len(ids)


# Bad input -----------------------------------------------------------------------------------------------------------


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
