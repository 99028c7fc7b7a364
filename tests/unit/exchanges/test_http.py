"""ING-28 … ING-30: requests, their retries, bans and the budget."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest

from marketlake.errors import OtherMarketError, UnavailableError
from marketlake.exchanges.budget import LocalBudget
from marketlake.exchanges.failures import (
    MarketRefusedError,
    RequestFailedError,
    SourceClosedError,
    SourceDisabledError,
    UnreadableBodyError,
)
from marketlake.exchanges.http import Call, Requester, http_client
from marketlake.instants import OffsetClock
from tests.unit.exchanges.conftest import PreparedServer, Waits

Make = Callable[..., Requester]
BOUND = '{"code":-1121,"msg":"Invalid symbol."}'


def call(server: PreparedServer, path: str = "/x", **changes: object) -> Call:
    return Call(server.url + path, path, "spot", **changes)  # type: ignore[arg-type]


def test_a_failing_request_is_retried_after_1_2_4_8_and_16_seconds(
    server: PreparedServer, make_requester: Make, waits: Waits
) -> None:
    server.add("/x", 503, '{"code":-1001,"msg":"Internal error."}')

    with pytest.raises(RequestFailedError, match=r"6 tries.*HTTP 503, code -1001: Internal error"):
        make_requester().get(call(server), read=json.loads)

    assert waits.seconds == [1, 2, 4, 8, 16]
    assert len(server.requests) == 6


def test_pauses_vary_by_at_most_a_fifth(server: PreparedServer, make_requester: Make, waits: Waits) -> None:
    server.add("/x", 503)

    for jitter in (min, max):
        with pytest.raises(RequestFailedError):
            make_requester(jitter=jitter).get(call(server), read=json.loads)

    assert waits.seconds == [0.8, 1.6, 3.2, 6.4, 12.8, 1.2, 2.4, 4.8, 9.6, 19.2]


def test_a_request_that_recovers_gives_its_answer(server: PreparedServer, make_requester: Make, waits: Waits) -> None:
    server.add("/x", 502)
    server.add("/x", 200, "<html>maintenance</html>")
    server.add("/x", 200, "[1", content_length="9")
    server.add("/x", 200, "[1]")

    response = make_requester().get(call(server), read=json.loads)

    assert (response.body, response.text, response.status) == ([1], "[1]", 200)
    assert waits.seconds == [1, 2, 4]
    assert response.requested_at <= response.received_at


def test_a_body_that_stays_unreadable_is_kept_with_its_first_2_kb(server: PreparedServer, make_requester: Make) -> None:
    server.add("/x", 200, "<html>" + "y" * 5000)

    with pytest.raises(UnreadableBodyError, match="unreadable body") as caught:
        make_requester().get(call(server), read=json.loads)

    assert len(caught.value.body) == 2048
    assert caught.value.body.startswith("<html>yyy")


def test_a_body_in_another_encoding_is_unreadable_and_not_guessed(server: PreparedServer, make_requester: Make) -> None:
    server.add("/x", 200, '["Zürich"]'.encode("latin-1"))

    with pytest.raises(UnreadableBodyError, match="unreadable body .*utf-8"):
        make_requester().get(call(server), read=json.loads)


def test_cookies_are_not_kept_with_the_answer(server: PreparedServer, make_requester: Make) -> None:
    server.add("/x", 200, "[]", set_cookie="session=1", x_kept="yes")

    headers = make_requester().get(call(server), read=json.loads).headers

    assert headers["x-kept"] == "yes"
    assert "set-cookie" not in headers


def test_refused_parameters_are_not_retried(server: PreparedServer, make_requester: Make, waits: Waits) -> None:
    server.add("/x", 400, BOUND)

    with pytest.raises(MarketRefusedError, match="code -1121: Invalid symbol"):
        make_requester().get(call(server), read=json.loads)

    assert (len(server.requests), waits.seconds) == (1, [])


def test_a_forbidden_source_is_left_alone(server: PreparedServer, make_requester: Make, waits: Waits) -> None:
    server.add("/x", 403, "<html>403 Forbidden</html>")
    requester = make_requester()

    with pytest.raises(SourceClosedError, match="not asked again for 5 minutes"):
        requester.get(call(server), read=json.loads)
    with pytest.raises(SourceClosedError, match="binance spot is not asked for 300 s more"):
        requester.get(call(server), read=json.loads)

    assert (len(server.requests), waits.seconds) == (1, [])


@pytest.mark.parametrize(("status", "said"), [(403, "HTTP 403"), (451, "HTTP 451")])
def test_a_source_that_refuses_is_left_alone_by_other_clients_of_the_budget_too(
    server: PreparedServer, make_requester: Make, waits: Waits, status: int, said: str
) -> None:
    server.add("/x", status, "<html>no</html>")
    budget = LocalBudget()
    with pytest.raises(UnavailableError):
        make_requester(budget=budget).get(call(server), read=json.loads)

    with pytest.raises(UnavailableError, match=rf"spot is not asked for (299|300) s more, run it again.*{said}"):
        make_requester(budget=budget).get(call(server), read=json.loads)

    assert (len(server.requests), waits.seconds) == (1, [])


def test_an_answer_of_another_market_is_not_used(server: PreparedServer, make_requester: Make) -> None:
    server.add("/x", 200, "[]", X_Marketlake_Market="synthetic:7")
    server.add("/x", 200, "[]")
    requester = make_requester(market="synthetic:7")

    assert requester.get(call(server), read=json.loads).body == []
    with pytest.raises(OtherMarketError, match=r"/x is the market 'live', this lake is fed by 'synthetic:7'; point"):
        requester.get(call(server), read=json.loads)


def test_a_step_that_is_stopped_does_not_wait_for_the_end_of_a_ban(server: PreparedServer) -> None:
    server.add("/x", 429, "{}", Retry_After="600")
    stop = threading.Event()
    requester = Requester(
        http_client(timeout_seconds=5),
        exchange="binance",
        scopes=("spot",),
        budget=LocalBudget(),
        clock=OffsetClock(),
        stop=stop,
    )
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()

    with pytest.raises(SourceClosedError, match="this step is being stopped"):
        requester.get(call(server), read=json.loads)

    assert time.monotonic() - started < 30


def test_a_restricted_source_is_disabled_with_the_exchanges_reason(
    server: PreparedServer, make_requester: Make
) -> None:
    server.add("/x", 451, '{"code": 0, "msg": "Service unavailable from a restricted location"}')
    requester = make_requester()

    for _ in range(2):
        with pytest.raises(SourceDisabledError, match="restricted location"):
            requester.get(call(server), read=json.loads)

    assert len(server.requests) == 1


def test_a_limit_stops_every_scope_and_then_the_request_goes_on(
    server: PreparedServer, make_requester: Make, waits: Waits
) -> None:
    server.add("/x", 429, '{"code":-1003,"msg":"Too much request weight used."}', retry_after="30")
    server.add("/x", 200, "[]")
    blocked: list[tuple[str, str]] = []

    class Budget(LocalBudget):
        def draw(self, scope: str, weight: int) -> float:
            return 30.0 if blocked and not waits.seconds else 0.0

        def block_until(self, scope: str, instant: object, reason: str) -> None:
            blocked.append((scope, reason))

    response = make_requester(budget=Budget()).get(call(server), read=json.loads)

    assert response.body == []
    assert [scope for scope, _ in blocked] == ["spot", "usdm", "usdm_funding"]
    assert "Too much request weight" in blocked[0][1]
    assert waits.seconds == [30]


def test_a_wait_beyond_the_deadline_fails_with_the_seconds(server: PreparedServer, make_requester: Make) -> None:
    server.add("/x", 418, '{"code":-1003,"msg":"Way too many requests; IP banned."}', retry_after="7200")

    with pytest.raises(SourceClosedError, match=r"may not be asked for (7200|7199) s more.*run it again"):
        make_requester(deadline_seconds=60).get(call(server), read=json.loads)

    assert len(server.requests) == 1


def test_five_failures_in_a_row_open_the_breaker(server: PreparedServer, make_requester: Make) -> None:
    server.add("/x", 500)
    requester = make_requester()

    for _ in range(5):
        with pytest.raises(RequestFailedError):
            requester.get(call(server), read=json.loads)
    with pytest.raises(SourceClosedError):
        requester.get(call(server), read=json.loads)

    assert len(server.requests) == 30


def test_the_used_weight_of_the_answer_reaches_the_budget(server: PreparedServer, make_requester: Make) -> None:
    server.add("/x", 200, "[]", x_mbx_used_weight_1m="900")
    budget = LocalBudget(ceiling=0.8)
    budget.set_limit("spot", 1200)

    make_requester(budget=budget).get(call(server, used_weight_header="x-mbx-used-weight-1m"), read=json.loads)

    assert budget.draw("spot", 60) == 0
    assert budget.draw("spot", 1) > 0
