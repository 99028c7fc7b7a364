"""REST tasks: pages in flight, segments in order, each market's failure its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from marketlake.errors import SetupError
from marketlake.exchanges.binance.client import Client
from marketlake.exchanges.budget import LocalBudget
from marketlake.exchanges.failures import MarketRefusedError, RequestFailedError, SourceClosedError, UnreadableBodyError
from marketlake.exchanges.http import Requester, http_client
from marketlake.exchanges.protocol import Page, Response
from marketlake.fetch.rest_tasks import REQUESTS_IN_FLIGHT, RestSource, fetch_rest, landed_answer
from marketlake.instants import OffsetClock, Window, format_instant, parse_instant, to_epoch_ms
from marketlake.landing import LandingArea, segment_lines
from marketlake.landing.area import file_digest
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.settings import Exchange
from marketlake.timeframes import grid
from marketlake.work import Answer, FetchTask, Market

START = parse_instant("2025-01-01")
HOUR = timedelta(hours=1)
BTC, ETH = Market("spot", "BTC/USDT", "BTCUSDT"), Market("spot", "ETH/USDT", "ETHUSDT")
Disturb = Callable[[Market, Window], None]


class HourlyExchange:
    """Gives hourly candles, at most `page_rows` at once; `disturb` may raise or wait before a page."""

    def __init__(self, *, page_rows: int = 10, given_rows: int = 10, disturb: Disturb | None = None) -> None:
        self.page_rows = page_rows
        self.given_rows = given_rows
        self.disturb = disturb or (lambda market, window: None)
        self.asked: list[tuple[str, datetime]] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def page_windows(self, dataset: str, market: Market, *, timeframe: str, window: Window) -> list[Window]:
        hours = range(0, window.length // HOUR, self.page_rows)
        starts = [window.start + HOUR * hour for hour in hours]
        return [Window(start, min(start + HOUR * self.page_rows, window.end)) for start in starts]

    def page(self, dataset: str, market: Market, *, timeframe: str, window: Window, from_id: str | None = None) -> Page:
        with self._lock:
            self.asked.append((market.symbol, window.start))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.disturb(market, window)
        finally:
            with self._lock:
                self.at_once -= 1
        opened = grid(window, "1h")[: self.given_rows]
        text = json.dumps([[to_epoch_ms(instant)] for instant in opened])
        now = OffsetClock().now()
        response = Response("http://x/klines?y", "/klines", {}, 200, {}, text, None, now, now)
        return Page(response, len(opened), opened[-1] + HOUR if opened else None)


def source(folder: Path, client: HourlyExchange | Client) -> RestSource:
    return RestSource(client, LandingArea(folder), OffsetClock(), "run", timedelta(0))  # type: ignore[arg-type]


def task(market: Market = BTC, *, hours: int = 100, task_id: str = "t") -> FetchTask:
    return FetchTask(task_id, "run", "binance", "ohlcv", market, "1h", "rest", Window(START, START + HOUR * hours))


def run(where: RestSource, *tasks: FetchTask) -> dict[str, list[Answer]]:
    answers: dict[str, list[Answer]] = {}
    fetch_rest(where, tasks, landed=lambda one, found: answers.update({one.task_id: found}))
    return answers


def hours(first: int, end: int) -> Window:
    return Window(START + HOUR * first, START + HOUR * end)


def instants(where: RestSource, answer: Answer) -> list[int]:
    path = where.area.absolute(answer.files[0].path)
    return [row[0] for line in segment_lines(path) for row in json.loads(line["body"])]


def test_several_requests_are_in_flight_and_their_responses_land_in_order(tmp_path: Path) -> None:
    client = HourlyExchange(disturb=lambda market, window: time.sleep(0.02 if window.start == START else 0.005))
    where = source(tmp_path, client)

    [answer] = run(where, task(hours=500))["t"]

    assert instants(where, answer) == [to_epoch_ms(START + HOUR * hour) for hour in range(500)]
    assert 1 < client.most_at_once <= REQUESTS_IN_FLIGHT


def test_a_server_that_gives_smaller_pages_than_asked_for_loses_nothing(tmp_path: Path) -> None:
    where = source(tmp_path, HourlyExchange(given_rows=3))

    [answer] = run(where, task())["t"]

    assert instants(where, answer) == [to_epoch_ms(START + HOUR * hour) for hour in range(100)]


def test_a_server_that_ignores_the_start_fails_the_task_and_is_not_asked_for_ever(tmp_path: Path) -> None:
    class Stuck(HourlyExchange):
        def page(
            self, dataset: str, market: Market, *, timeframe: str, window: Window, from_id: str | None = None
        ) -> Page:
            page = super().page(dataset, market, timeframe=timeframe, window=window)
            return Page(page.response, page.row_count, START + HOUR)

    client = Stuck()
    [answer] = run(source(tmp_path, client), task(hours=10))["t"]

    assert answer.status == "failed"
    assert "ignores startTime" in (answer.error or "")
    assert len(client.asked) == 2


@pytest.mark.parametrize("rows", [1, 3])
def test_a_hole_up_to_the_end_of_a_window_is_an_answer_where_pages_begin_before_their_start(
    tmp_path: Path, rows: int
) -> None:
    hole = Window(START + HOUR * 20, START + HOUR * 24)
    with Sandbox(SyntheticMarket(7), clock="2025-01-03T00:00:00Z") as sandbox, http_client(timeout_seconds=5) as http:
        sandbox.faults.add("gaps", symbol="BTCUSDT", start=format_instant(hole.start), end=format_instant(hole.end))
        sandbox.faults.add("page_overlap", rows=rows)
        requester = Requester(http, exchange="binance", scopes=("spot",), budget=LocalBudget(), clock=OffsetClock())
        where = source(tmp_path, Client(Exchange(rest_url=sandbox.url), requester))
        answers = run(where, task(hours=24), replace(task(task_id="hole"), window=hole))

    assert [(one.status, one.window) for one in answers["t"]] == [("answered", hours(0, 24))]
    assert [(one.status, one.window) for one in answers["hole"]] == [("answered", hole)]
    assert {hour for hour in instants(where, answers["t"][0]) if hour >= to_epoch_ms(START)} == {
        to_epoch_ms(START + HOUR * hour) for hour in range(20)
    }


def test_a_refused_market_is_asked_no_more_while_the_others_go_on(tmp_path: Path) -> None:
    def refuse(market: Market, window: Window) -> None:
        if market == BTC:
            raise MarketRefusedError("BTC/USDT is refused: HTTP 400, code -1121: Invalid symbol.")

    client = HourlyExchange(disturb=refuse)
    many = [task(hours=1000, task_id=f"b{number}") for number in range(5)]

    answers = run(source(tmp_path, client), *many, task(ETH, task_id="e"))

    assert {found[0].status for name, found in answers.items() if name != "e"} == {"failed"}
    assert all("-1121" in (found[0].error or "") for name, found in answers.items() if name != "e")
    assert answers["e"][0].status == "answered"
    assert sum(symbol == "BTC/USDT" for symbol, _ in client.asked) < 100


def test_a_task_keeps_what_came_before_its_failure(tmp_path: Path) -> None:
    def fail_late(market: Market, window: Window) -> None:
        if window.start == START + HOUR * 50:
            raise RequestFailedError("HTTP 503")

    where = source(tmp_path, HourlyExchange(disturb=fail_late))

    answered, failed, after = run(where, task())["t"]

    assert [one.window for one in (answered, failed, after)] == [hours(0, 50), hours(50, 60), hours(60, 100)]
    assert instants(where, answered) == [to_epoch_ms(START + HOUR * hour) for hour in range(50)]
    assert instants(where, after) == [to_epoch_ms(START + HOUR * hour) for hour in range(60, 100)]
    assert (failed.status, failed.error, failed.files) == ("failed", "HTTP 503", ())
    assert landed_answer(where, task()) is None


def test_neighbouring_failures_are_one_hole_and_bodies_of_several_holes_have_files_of_their_own(tmp_path: Path) -> None:
    def garble(market: Market, window: Window) -> None:
        if window.start in (START, START + HOUR * 10, START + HOUR * 40):
            raise UnreadableBodyError("an unreadable body", url="http://x/?y", body="<html>", received_at=START)

    where = source(tmp_path, HourlyExchange(disturb=garble))

    answers = run(where, task())["t"]

    assert [(one.status, one.window) for one in answers] == [
        ("failed", hours(0, 20)),
        ("answered", hours(20, 40)),
        ("failed", hours(40, 50)),
        ("answered", hours(50, 100)),
    ]
    files = [file.path for one in answers for file in one.files]
    assert len(set(files)) == 4
    assert all(where.area.stored(path) for path in files)


@pytest.mark.parametrize(
    "error", [OverflowError("date value out of range"), KeyError("x"), TypeError("no"), ValueError()]
)
def test_a_page_that_cannot_be_used_fails_its_window_and_the_other_tasks_go_on(
    tmp_path: Path, error: Exception
) -> None:
    def garble(market: Market, window: Window) -> None:
        if market == BTC:
            raise error

    answers = run(source(tmp_path, HourlyExchange(disturb=garble)), task(), task(ETH, task_id="e"))

    [failed] = answers["t"]
    assert (failed.status, failed.window) == ("failed", hours(0, 100))
    assert f"the answer cannot be used ({type(error).__name__}" in (failed.error or "")
    assert answers["e"][0].status == "answered"


def test_a_later_attempt_leaves_the_files_of_the_earlier_one_as_they_are(tmp_path: Path) -> None:
    def fail_late(market: Market, window: Window) -> None:
        if window.start == START + HOUR * 50:
            raise UnreadableBodyError("an unreadable body", url="http://x/?y", body="<html>", received_at=START)

    first = source(tmp_path, HourlyExchange(disturb=fail_late))
    before = {file.path: file.sha256 for one in run(first, task())["t"] for file in one.files}
    second = replace(source(tmp_path, HourlyExchange()), attempt=2)

    [answer] = run(second, task())["t"]

    assert {path: file_digest(first.area.absolute(path)) for path in before} == before
    assert answer.files[0].path not in before
    assert landed_answer(second, task()) == answer


def test_whoever_stops_a_fetch_does_not_wait_for_its_pauses(tmp_path: Path) -> None:
    where = source(tmp_path, HourlyExchange())

    def wait_for_a_ban(market: Market, window: Window) -> None:
        if market == ETH:
            assert where.stop.wait(60)
            raise SourceClosedError("stopped")

    where.client.disturb = wait_for_a_ban  # type: ignore[attr-defined]

    def interrupt(one: FetchTask, answers: list[Answer]) -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch_rest(where, [task(), task(ETH, task_id="e")], landed=interrupt)

    assert time.monotonic() - started < 30


def test_a_landed_task_is_found_again_with_the_same_answer(tmp_path: Path) -> None:
    where = source(tmp_path, HourlyExchange())
    [answer] = run(where, task())["t"]

    assert landed_answer(where, task()) == answer
    assert landed_answer(where, task(hours=50)) is None
    assert landed_answer(where, task(task_id="other")) is None


def test_a_full_disk_ends_the_fetch(tmp_path: Path) -> None:
    def full(market: Market, window: Window) -> None:
        raise SetupError("no space left for x")

    with pytest.raises(SetupError, match="no space left"):
        run(source(tmp_path, HourlyExchange(disturb=full)), task(), task(ETH, task_id="e"))
