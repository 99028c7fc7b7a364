"""The control endpoints: faults, clock, log, market; wrong requests in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from marketlake.sandbox import Sandbox
from tests.integration.sandbox.asking import Ask


def test_a_fault_is_switched_on_shown_and_off_again(sandbox: Sandbox, get: Ask) -> None:
    added = get("/sandbox/faults", method="POST", body={"name": "unavailable", "symbol": "BTC/USDT", "times": 2})
    assert added.status == 201
    assert added.json["parameters"]["symbol"] == "BTCUSDT"
    get("/api/v3/klines?symbol=BTCUSDT&interval=1h")
    [shown] = get("/sandbox/faults").json
    assert (shown["id"], shown["hits"], shown["is_spent"]) == (added.json["id"], 1, False)
    assert get(f"/sandbox/faults?id={added.json['id']}", method="DELETE").json == []


def test_parameters_can_be_given_in_an_object_of_their_own(sandbox: Sandbox, get: Ask) -> None:
    body = {"name": "slow", "parameters": {"seconds": 0}}
    assert get("/sandbox/faults", method="POST", body=body).json["parameters"]["seconds"] == 0


def test_faults_of_one_name_or_all_are_switched_off(sandbox: Sandbox, get: Ask) -> None:
    for name in ("slow", "reset", "slow"):
        sandbox.faults.add(name)
    assert [one["name"] for one in get("/sandbox/faults?name=slow", method="DELETE").json] == ["reset"]
    assert get("/sandbox/faults", method="DELETE").json == []


def test_the_known_faults_are_told(sandbox: Sandbox, get: Ask) -> None:
    known = {one["name"]: one for one in get("/sandbox/faults?known=1").json}
    assert known["gaps"]["parameters"]["start"] == "only data from here on"


@pytest.mark.parametrize(
    ("path", "method", "body", "said"),
    [
        ("/sandbox/faults", "POST", {"name": "gap"}, "fault must be one of gaps"),
        ("/sandbox/faults", "POST", {"name": "slow", "second": 1}, "parameter of fault slow must be one of"),
        ("/sandbox/faults", "POST", {"name": "slow", "parameters": 1}, "parameters must be a JSON object"),
        ("/sandbox/faults", "POST", [1], "the request's body must be a JSON object"),
        ("/sandbox/faults?id=99", "DELETE", None, "no fault is on"),
        ("/sandbox/faults?id=x", "DELETE", None, "id must be a number"),
        ("/sandbox/clock", "POST", {"now": "tomorrow"}, "clock must be a date"),
        ("/sandbox/clock", "POST", {"frozen": "yes"}, "frozen must be true or false"),
        ("/sandbox/clock", "POST", {"time": "2025-01-01"}, "field must be one of now, frozen; was 'time'"),
    ],
)
def test_a_wrong_request_gets_one_sentence(
    sandbox: Sandbox, get: Ask, path: str, method: str, body: Any, said: str
) -> None:
    reply = get(path, method=method, body=body)
    assert reply.status == 400
    assert reply.json["error"].startswith(said)


def test_the_clock_is_shown_and_set(sandbox: Sandbox, get: Ask) -> None:
    assert get("/sandbox/clock").json == {"now": "2025-02-01T12:00:30Z", "frozen": True}
    moved = get("/sandbox/clock", method="POST", body={"now": "2025-03-01T00:00:00Z"})
    assert moved.json == {"now": "2025-03-01T00:00:00Z", "frozen": True}
    assert get("/api/v3/time").json == {"serverTime": 1740787200000}
    assert get("/sandbox/clock", method="POST", body={"frozen": False}).json["frozen"] is False


def test_the_log_is_shown_by_prefix_and_cleared(sandbox: Sandbox, get: Ask) -> None:
    get("/api/v3/ping")
    get("/fapi/v1/ping")
    assert [one["path"] for one in get("/sandbox/requests").json] == ["/api/v3/ping", "/fapi/v1/ping"]
    assert [one["weight"] for one in get("/sandbox/requests?prefix=/fapi").json] == [1]
    get("/sandbox/requests", method="DELETE")
    assert get("/sandbox/requests").json == []


def test_the_market_is_told(sandbox: Sandbox, get: Ask) -> None:
    told = get("/sandbox/market").json
    assert told["market"] == "synthetic:7"
    assert "BTC/USDT" in told["symbols"]["spot"]
    assert "BTC/USDT:USDT" in told["symbols"]["um"]
