"""The sandbox is honest: each recorded request gets the same keys, in the same order, of the same types."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from marketlake.sandbox import RecordedMarket, Sandbox, SyntheticMarket
from tests.integration.sandbox.asking import ask

CLOCK = "2026-09-01T00:00:00Z"
FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "binance_429_too_many_requests_2018.json": ("too_many_requests", {}),
    "binance_429_request_weight.json": ("too_many_requests", {}),
    "binance_429_sapi.json": ("too_many_requests", {}),
    "binance_418_ip_banned.json": ("banned", {}),
    "binance_418_ip_banned_2018.json": ("banned", {}),
    "binance_451_restricted_location.json": ("restricted", {}),
    "binance_503_internal_error.json": ("unavailable", {}),
    "binance_403_cloudfront.html": ("forbidden", {"page": "cloudfront"}),
    "binance-um_403_forbidden.html": ("forbidden", {"page": "plain"}),
}


def recorded_requests(folder: Path, *groups: str) -> list[dict[str, str]]:
    with (folder / "rest" / "INDEX.csv").open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["file"].split("/")[0] in groups]


def shape(value: Any) -> Any:
    """Keys with the types below them, in order; a list is the set of its elements' shapes, by length where short."""
    if isinstance(value, dict):
        return [(key, shape(one)) for key, one in value.items()]
    if isinstance(value, list):
        if value and all(not isinstance(one, dict | list) for one in value) and len(value) in (2, 12):
            return ["row", [shape(one) for one in value]]
        return ["list", *sorted({json.dumps(shape(one)) for one in value})]
    return type(value).__name__


def body_of(file: Path) -> Any:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt") as lines:
        return json.load(lines)


@pytest.fixture(scope="module")
def synthetic(market: SyntheticMarket) -> Iterator[Sandbox]:
    with Sandbox(market, clock=CLOCK) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def recorded(recorded_data: Path) -> Iterator[Sandbox]:
    with Sandbox(RecordedMarket(recorded_data), clock=CLOCK) as sandbox:
        yield sandbox


def path_of(request: dict[str, str]) -> str:
    parts = urlsplit(request["url"])
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def test_every_recorded_body_has_its_shape_in_the_made_up_market(synthetic: Sandbox, recorded_data: Path) -> None:
    requests = recorded_requests(recorded_data, "binance-spot", "binance-um")
    assert len(requests) == 15
    for request in requests:
        reply = ask(synthetic.url + path_of(request))
        assert reply.status == 200, request["file"]
        theirs, ours = shape(body_of(recorded_data / "rest" / request["file"])), shape(reply.json)
        if "exchangeInfo" in request["url"]:
            assert_entries_known(theirs, ours)
        else:
            assert ours == theirs, request["file"]


def assert_entries_known(theirs: Any, ours: Any) -> None:
    """Each of our entries is shaped like one of theirs; everything outside the lists is shaped the same."""
    assert [key for key, _ in ours] == [key for key, _ in theirs]
    for (key, mine), (_, recorded) in zip(ours, theirs, strict=True):
        if isinstance(mine, list):
            assert set(mine) <= set(recorded) | {"list"}, key
        else:
            assert mine == recorded, key


def test_the_recorded_market_gives_the_recorded_lists_back(recorded: Sandbox, recorded_data: Path) -> None:
    for path, name in (
        ("/api/v3/exchangeInfo", "binance-spot/api_v3_exchangeInfo.json.gz"),
        ("/fapi/v1/exchangeInfo", "binance-um/fapi_v1_exchangeInfo.json"),
    ):
        ours, theirs = ask(recorded.url + path).json, body_of(recorded_data / "rest" / name)
        assert ours["symbols"] == theirs["symbols"]
        assert list(ours) == list(theirs)
        assert shape(ours) == shape(theirs)


@pytest.mark.parametrize("name", ["klines_BTCUSDT_1h_2023-03-01.json", "klines_BTCUSDT_15m_2025-01-06.json"])
def test_the_recorded_market_gives_the_recorded_candles_back(recorded: Sandbox, recorded_data: Path, name: str) -> None:
    [request] = [
        row for row in recorded_requests(recorded_data, "binance-spot") if row["file"] == f"binance-spot/{name}"
    ]
    reply = ask(recorded.url + path_of(request))
    assert reply.body == (recorded_data / "rest" / "binance-spot" / name).read_bytes().strip()


def test_older_bodies_have_their_shape_too(synthetic: Sandbox, recorded_data: Path) -> None:
    served = ("klines", "trades", "aggTrades", "depth", "time", "ping", "avgPrice")
    checked = 0
    for request in recorded_requests(recorded_data, "binance-spot-2019"):
        parts = urlsplit(request["url"])
        if parts.path.rsplit("/", 1)[1] not in served or "fromId" in parts.query:
            continue  # the recorded id is one that the made-up market has not reached
        reply = ask(synthetic.url + path_of(request))
        assert reply.status == 200, request["file"]
        assert shape(reply.json) == shape(body_of(recorded_data / "rest" / request["file"])), request["file"]
        checked += 1
    assert checked == 11


def test_every_recorded_error_has_its_status_and_shape(synthetic: Sandbox, recorded_data: Path) -> None:
    requests = recorded_requests(recorded_data, "errors")
    assert len(requests) == 14
    for request in requests:
        name = request["file"].split("/")[1]
        synthetic.faults.clear()
        fault, parameters = FAULTS.get(name, ("", {}))
        if fault:
            synthetic.faults.add(fault, **parameters)
        path = path_of(request) if request["url"].startswith("https://") else "/api/v3/klines"
        reply = ask(synthetic.url + path)
        theirs = (recorded_data / "rest" / request["file"]).read_bytes()
        assert reply.status == int(request["http_status"]), name
        if name.endswith(".html"):
            assert_same_page(reply.body.decode(), theirs.decode())
            assert reply.headers["Content-Type"] == "text/html"
        else:
            assert shape(reply.json) == shape(json.loads(theirs)), name
            assert reply.json["code"] == json.loads(theirs)["code"]
        if not fault or fault in ("restricted", "unavailable"):
            assert reply.body.strip() == theirs.strip(), name
        assert ("Retry-After" in reply.headers) == (reply.status in (418, 429)), name
    synthetic.faults.clear()


def assert_same_page(ours: str, theirs: str) -> None:
    """The page but for the id of its request."""
    assert [line for line in ours.splitlines() if "Request ID" not in line] == [
        line for line in theirs.splitlines() if "Request ID" not in line
    ]
