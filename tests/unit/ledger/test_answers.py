"""Tests for ``marketlake.ledger.answers``."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.instants import Window, from_epoch_ms
from marketlake.ledger.answers import facts_of_answer, facts_of_refusal, facts_of_retraction
from marketlake.ledger.facts import Fact, joined, merge
from marketlake.ledger.outages import Outage, outage_calendar
from marketlake.settings import load_settings
from marketlake.timeframes import holes
from marketlake.work import Market
from tests.unit.ledger.series import NOW, answer, day, hours

SHIPPED = outage_calendar(load_settings(environ={}))


def facts(
    window: Window, present: list[Window] | None = None, rejected: list[Window] | None = None, **changes: Any
) -> list[Fact]:
    asked = changes.pop("answer", answer(window))
    options: dict[str, Any] = {"exchange": "binance", "dataset": OHLCV, "now": NOW}
    return facts_of_answer(asked, present or [], rejected or [], **(options | changes))


def told(found: list[Fact]) -> list[tuple[Window, str]]:
    return [(item.window, item.state) for item in found]


def test_an_answer_is_tiled_into_what_came_what_failed_the_rules_and_what_is_missing() -> None:
    found = facts(hours(0, 10), present=[hours(0, 4), hours(5, 8)], rejected=[hours(4, 5)])

    assert told(found) == [
        (hours(0, 4), "present"),
        (hours(4, 5), "rejected"),
        (hours(5, 8), "present"),
        (hours(8, 10), "pending"),
    ]


def test_a_hole_is_asked_for_again_on_the_next_utc_day_and_counts_one_attempt() -> None:
    [found] = facts(hours(0, 1))

    assert (found.state, found.attempt_day, found.source) == ("pending", day(1), "rest")
    assert found.retry_at == datetime(2025, 3, 2, tzinfo=UTC)


def test_a_key_that_came_both_ways_is_present() -> None:
    assert told(facts(hours(0, 2), present=[hours(0, 2)], rejected=[hours(1, 2)])) == [(hours(0, 2), "present")]


def test_an_answer_that_failed_is_failed_and_due_at_once() -> None:
    [found] = facts(hours(0, 5), answer=answer(hours(0, 5), status="failed", error="HTTP 503"))

    assert (found.window, found.state, found.retry_at, found.attempt_day) == (hours(0, 5), "failed", NOW, None)


def test_an_absent_archive_says_nothing_about_its_market() -> None:
    assert facts(hours(0, 5), answer=answer(hours(0, 5), source="archive", status="absent")) == []


def test_a_candle_inside_a_known_outage_settles_at_once_and_one_that_only_touches_it_does_not() -> None:
    down = Outage("binance", "spot", "*", Window(hours(2, 3).start + timedelta(minutes=30), hours(2, 5).end), "halt")

    found = facts(hours(0, 6), present=[hours(0, 2), hours(5, 6)], calendar=[down])

    assert told(found)[1:3] == [(hours(2, 3), "pending"), (hours(3, 5), "exchange_down")]


@pytest.mark.parametrize(
    "market", [Market("perpetual", "BTC/USDT:USDT", "BTCUSDT"), Market("spot", "ETH/USDT", "ETHUSDT")], ids=str
)
def test_an_outage_of_one_market_explains_nothing_of_another(market: Market) -> None:
    down = Outage("binance", "spot", "BTC/USDT", hours(0, 9), "halt")

    [found] = facts(hours(0, 1), answer=answer(hours(0, 1), market=market), calendar=[down])

    assert found.state == "pending"


def test_a_missing_candle_of_an_exchange_that_omits_empty_ones_had_no_trades() -> None:
    assert told(facts(hours(0, 1), omits_empty_candles=True)) == [(hours(0, 1), "no_trades")]


def test_hours_before_listing_and_after_delisting_are_not_listed() -> None:
    market = Market("spot", "BTC/USDT", "BTCUSDT", hours(2, 3).start, hours(5, 6).start)

    found = facts(hours(0, 8), present=[hours(2, 5)], answer=answer(hours(0, 8), market=market))

    assert told(found) == [(hours(0, 2), "not_listed"), (hours(2, 5), "present"), (hours(5, 8), "not_listed")]


def test_a_candle_that_is_not_closed_yet_is_no_attempt() -> None:
    [found] = facts(hours(0, 1), now=hours(0, 1).start + timedelta(minutes=30))

    assert (found.state, found.attempt_day, found.retry_at) == ("pending", None, hours(0, 1).end)


def test_events_are_present_for_the_whole_answered_window_except_rejected_minutes() -> None:
    window = hours(0, 24)
    bad = Window(hours(8, 9).start, hours(8, 9).start + timedelta(minutes=1))

    found = facts(window, rejected=[bad], dataset=FUNDING_RATES, answer=answer(window, timeframe=""))

    assert told(found) == [
        (Window(window.start, bad.start), "present"),
        (bad, "rejected"),
        (Window(bad.end, window.end), "present"),
    ]


def test_a_refused_market_is_failed_and_nobody_fetches_it_again() -> None:
    [found] = facts_of_refusal(answer(hours(0, 5)), exchange="binance", dataset=OHLCV, now=NOW)
    [kept] = merge([], [found])

    assert kept.is_refused
    assert not kept.is_due(NOW)


def test_an_answer_that_failed_in_a_refused_market_brought_nothing_to_refuse_and_stays_due() -> None:
    asked = answer(hours(0, 5), status="failed", error="HTTP 503")
    [kept] = merge([], facts_of_refusal(asked, exchange="binance", dataset=OHLCV, now=NOW))

    assert (kept.is_refused, kept.cause, kept.is_due(NOW)) == (False, "fetch_failed", True)


def test_a_load_that_raised_leaves_its_range_due() -> None:
    found = facts_of_refusal(answer(hours(0, 5)), exchange="binance", dataset=OHLCV, now=NOW, cause="load_failed")

    assert [(item.cause, item.retry_at) for item in found] == [("load_failed", NOW)]


def test_a_retracted_range_is_unfillable_at_once() -> None:
    market = {"exchange": "binance", "dataset": OHLCV, "symbol": "BTC/USDT", "timeframe": "1h"}
    before = merge([], facts(hours(0, 4), present=[hours(0, 4)]))

    after = merge(before, facts_of_retraction([hours(1, 2)], source="archive", **market))

    assert [(item.window, item.state) for item in after][1] == (hours(1, 2), "unfillable")


@given(
    st.tuples(st.integers(0, 5), st.integers(6, 20)),
    st.lists(st.integers(-2, 22), max_size=12),
    st.lists(st.integers(-2, 22), max_size=12),
    st.booleans(),
)
def test_facts_tile_the_whole_window_without_overlaps(
    bounds: tuple[int, int], present: list[int], rejected: list[int], omits: bool
) -> None:
    window = hours(*bounds)
    calendar = [Outage("binance", "*", "*", hours(3, 7), "halt")]

    found = facts(
        window,
        present=[hours(at, at + 1) for at in present],
        rejected=[hours(at, at + 1) for at in rejected],
        omits_empty_candles=omits,
        calendar=calendar,
    )

    assert joined(item.window for item in found) == [window]
    assert all(a.window.end == b.window.start for a, b in pairwise(found))


RECORDED = [
    ("1m/BTCUSDT-1m-2021-03-26_2021-04-30", "BTC/USDT", "1m", {"exchange_down": [150, 284]}),
    ("1m/ETHUSDT-1m-2021-08-09_2021-09-13", "ETH/USDT", "1m", {"exchange_down": [270]}),
    ("1h/BTCUSDT-1h-2022-01-01_2026-04-30", "BTC/USDT", "1h", {"exchange_down": [1]}),
    ("1m/XRPETH-1m-2019-10-11_2019-10-13", "XRP/ETH", "1m", {"pending": (676, 1091)}),
    ("5m/XRPETH-5m-2019-10-11_2019-10-13", "XRP/ETH", "5m", {"pending": (6, 6)}),
]


@pytest.mark.parametrize(("name", "symbol", "timeframe", "expected"), RECORDED, ids=[item[0] for item in RECORDED])
def test_the_holes_of_the_recorded_files_are_found_and_explained(
    recorded_data: Path, name: str, symbol: str, timeframe: str, expected: dict[str, Any]
) -> None:
    times, step = open_times(recorded_data / f"klines/binance-spot/{name}.csv.gz", timeframe)
    window = Window(times[0], times[-1] + step)
    asked = answer(window, market=Market("spot", symbol, ""), timeframe=timeframe)
    present = window.minus(holes(window, timeframe, times))

    found = facts(window, present=present, answer=asked, now=datetime(2026, 11, 1, tzinfo=UTC), calendar=SHIPPED)

    lengths = {
        state: [item.window.length // step for item in found if item.state == state]
        for state in {item.state for item in found} - {"present"}
    }
    if "pending" in expected:
        assert {state: (len(counts), sum(counts)) for state, counts in lengths.items()} == expected
    else:
        assert lengths == expected


@pytest.mark.parametrize(
    ("name", "gaps"), [("5m/DASHBTC-5m-2018-01-10_2018-01-30", 2), ("5m/TRXBTC-5m-2018-01-10_2018-01-30", 6)]
)
def test_what_an_exchange_without_empty_candles_left_out_had_no_trades(
    recorded_data: Path, name: str, gaps: int
) -> None:
    times, step = open_times(recorded_data / f"klines/bittrex-spot/{name}.csv.gz", "5m")
    window = Window(times[0], times[-1] + step)
    asked = answer(window, market=Market("spot", "TRX/BTC", "TRXBTC"), timeframe="5m")
    options = {"present": window.minus(holes(window, "5m", times)), "answer": asked}
    now = datetime(2026, 11, 1, tzinfo=UTC)

    silent = facts(window, **options, now=now, exchange="bittrex", omits_empty_candles=True)
    missed = facts(window, **options, now=now, exchange="bittrex")

    assert [item.state for item in silent if item.state != "present"] == ["no_trades"] * gaps
    assert [item.state for item in missed if item.state != "present"] == ["pending"] * gaps


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_the_shipped_calendar_explains_every_hole_of_the_2h_files(recorded_data: Path, symbol: str) -> None:
    path = recorded_data / f"klines/binance-spot/2h/{symbol}-2h-2017-08-17_2026-04-30.csv.gz"
    times, step = open_times(path, "2h")
    window = Window(times[0], times[-1] + step)
    missing = holes(window, "2h", times)
    asked = answer(window, market=Market("spot", f"{symbol[:3]}/USDT", symbol), timeframe="2h")

    found = facts(
        window, present=window.minus(missing), answer=asked, now=datetime(2026, 11, 1, tzinfo=UTC), calendar=SHIPPED
    )

    assert (len(missing), sum(hole.length // step for hole in missing)) == (18, 53)
    assert {item.state for item in found} == {"present", "exchange_down"}
    assert [item.window for item in found if item.state == "exchange_down"] == missing


def open_times(path: Path, timeframe: str) -> tuple[list[datetime], timedelta]:
    with gzip.open(path, "rt") as stream:
        times = [from_epoch_ms(int(row["open_time"])) for row in csv.DictReader(stream)]
    return times, {"1m": timedelta(minutes=1), "5m": timedelta(minutes=5), "1h": timedelta(hours=1)}.get(
        timeframe, timedelta(hours=2)
    )
