"""ccxt runs against the sandbox unchanged, once every address in its list is rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ccxt
import pytest

from marketlake.sandbox import RecordedMarket, Sandbox

JANUARY = 1_735_689_600_000
HOUR = 3_600_000


def pointed_at(url: str, exchange: Any) -> Any:
    """The exchange with every leaf of its addresses rewritten."""

    def rewritten(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: rewritten(value) for key, value in node.items()}
        return re.sub(r"^https?://[^/]+", url, node)

    exchange.urls["api"] = rewritten(exchange.urls["api"])
    return exchange


@pytest.fixture
def spot(sandbox: Sandbox) -> Any:
    return pointed_at(sandbox.url, ccxt.binance())


@pytest.fixture
def perpetual(sandbox: Sandbox) -> Any:
    return pointed_at(sandbox.url, ccxt.binanceusdm())


def floats(table: Any, *names: str) -> list[list[float]]:
    return [[float(value) for value in row] for row in zip(*(table[name].to_pylist() for name in names), strict=True)]


def test_markets_load_with_their_ticks(spot: Any, perpetual: Any) -> None:
    markets = spot.load_markets()
    assert {"BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"} <= set(markets)
    assert markets["BTC/USDT"]["precision"]["price"] == 0.01
    assert markets["BTC/USDT"]["precision"]["amount"] == 0.00001
    assert markets["BTC/USDT"]["active"]
    assert perpetual.load_markets()["BTC/USDT:USDT"]["linear"]


@pytest.mark.parametrize(("name", "symbol"), [("spot", "BTC/USDT"), ("perpetual", "BTC/USDT:USDT")])
def test_candles_are_the_truth(sandbox: Sandbox, request: pytest.FixtureRequest, name: str, symbol: str) -> None:
    rows = request.getfixturevalue(name).fetch_ohlcv(symbol, "15m", since=JANUARY, limit=96)
    truth = sandbox.market.candles(symbol, "15m", "2025-01-01", "2025-01-02")  # type: ignore[attr-defined]
    assert [row[0] for row in rows] == [JANUARY + 900_000 * index for index in range(96)]
    assert [row[1:] for row in rows] == floats(truth, "open", "high", "low", "close", "volume")


def test_the_last_candle_is_open_by_the_servers_time(spot: Any) -> None:
    row = spot.fetch_ohlcv("BTC/USDT", "1h", limit=1)[0]
    assert row[0] <= spot.fetch_time() < row[0] + HOUR


def test_funding_history_is_the_truth(sandbox: Sandbox, perpetual: Any) -> None:
    rows = perpetual.fetch_funding_rate_history("BTC/USDT:USDT", since=JANUARY, limit=93)
    truth = sandbox.market.funding_rates("BTC/USDT:USDT", "2025-01-01", "2025-02-01")  # type: ignore[attr-defined]
    assert [[row["fundingRate"]] for row in rows] == floats(truth, "funding_rate")
    assert len(rows) == 93


def test_trades_come_in_order_with_their_sides(spot: Any) -> None:
    trades = spot.fetch_trades("BTC/USDT", since=JANUARY, limit=200)
    assert [one["timestamp"] for one in trades] == sorted(one["timestamp"] for one in trades)
    assert {one["side"] for one in trades} == {"buy", "sell"}
    assert trades[0]["timestamp"] >= JANUARY


@pytest.mark.parametrize(("name", "symbol"), [("spot", "ETH/USDT"), ("perpetual", "ETH/USDT:USDT")])
def test_the_book_is_two_ladders(request: pytest.FixtureRequest, name: str, symbol: str) -> None:
    book = request.getfixturevalue(name).fetch_order_book(symbol, 20)
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert book["bids"][0][0] < book["asks"][0][0]


def test_the_funding_rate_now_has_a_mark_price(perpetual: Any) -> None:
    rate = perpetual.fetch_funding_rate("BTC/USDT:USDT")
    assert rate["markPrice"] == pytest.approx(rate["indexPrice"], rel=0.01)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("too_many_requests", ccxt.DDoSProtection),
        ("banned", ccxt.DDoSProtection),
        ("forbidden", ccxt.ExchangeNotAvailable),
        ("unavailable", ccxt.OperationFailed),
        ("reset", ccxt.NetworkError),
    ],
)
def test_faults_are_the_errors_that_ccxt_makes_of_the_real_ones(
    sandbox: Sandbox, spot: Any, fault: str, error: type[Exception]
) -> None:
    spot.load_markets()
    sandbox.faults.add(fault)
    with pytest.raises(error):
        spot.fetch_ohlcv("BTC/USDT", "1h", limit=1)


@pytest.mark.parametrize("fault", ["html_ok", "truncated_body", "silence"])
def test_ccxt_makes_no_error_and_no_candle_of_these_bodies(sandbox: Sandbox, spot: Any, fault: str) -> None:
    spot.load_markets()
    sandbox.faults.add(fault)
    assert all(None in row for row in spot.fetch_ohlcv("BTC/USDT", "1h", limit=10))


def test_an_unknown_symbol_is_a_bad_symbol(spot: Any) -> None:
    spot.load_markets()
    with pytest.raises(ccxt.BadSymbol):
        spot.publicGetKlines({"symbol": "BOGUS", "interval": "1h"})


class TestRecorded:
    @pytest.fixture(scope="class")
    def recorded(self, recorded_data: Path) -> Iterator[Sandbox]:
        with Sandbox(RecordedMarket(recorded_data), clock="2026-05-02T00:00:00Z") as sandbox:
            yield sandbox

    def test_recorded_candles_come_with_nulls(self, recorded: Sandbox) -> None:
        rows = pointed_at(recorded.url, ccxt.binance()).fetch_ohlcv("BTC/USDT", "1m", since=1735700400000, limit=2)
        assert rows[0] == [1735700400000, 94098.9, 94098.91, 94049.47, 94049.47, 7.50148]

    def test_recorded_funding_comes(self, recorded: Sandbox) -> None:
        exchange = pointed_at(recorded.url, ccxt.binanceusdm())
        rows = exchange.fetch_funding_rate_history("BTC/USDT:USDT", since=1640995200000, limit=2)
        assert [(row["timestamp"], row["fundingRate"]) for row in rows] == [
            (1640995200006, 0.0001), (1641024000009, 0.0001),
        ]  # fmt: skip

    def test_recorded_aggregate_trades_come(self, recorded: Sandbox) -> None:
        exchange = pointed_at(recorded.url, ccxt.binance())
        rows = exchange.fetch_trades("XRP/ETH", since=1570752000000, limit=3)
        assert [(row["id"], row["timestamp"], row["side"], row["price"], row["amount"]) for row in rows] == [
            ("13519807", 1570752011620, "sell", 0.00141342, 23.0),
            ("13519808", 1570752011620, "sell", 0.00141266, 54.0),
            ("13519809", 1570752017964, "sell", 0.00141266, 8.0),
        ]
        next_page = exchange.fetch_trades("XRP/ETH", limit=2, params={"fromId": 13519810})
        assert [row["id"] for row in next_page] == ["13519810", "13519811"]
