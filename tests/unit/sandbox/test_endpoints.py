"""The REST endpoints: parameters, refusals in the exchange's words, weights."""

from typing import Any

import pytest

from marketlake.sandbox import SyntheticMarket
from marketlake.sandbox.endpoints import endpoint_of
from marketlake.sandbox.parameters import Parameters
from marketlake.sandbox.refusals import RefusalError

NOW = 1_738_411_231_457
JANUARY = 1_735_689_600_000
MARKET = SyntheticMarket(7)


def ask(path: str, **query: str) -> Any:
    endpoint = endpoint_of(path)
    assert endpoint is not None
    return endpoint.answer(MARKET, Parameters(endpoint.venue, query, MARKET, NOW))


def weight(path: str, **query: str) -> int:
    endpoint = endpoint_of(path)
    assert endpoint is not None
    return endpoint.weigh(query)


SPOT_KLINES = {"symbol": "BTCUSDT", "interval": "1m"}


@pytest.mark.parametrize(
    ("path", "query", "code", "message"),
    [
        ("/api/v3/klines", {}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("/api/v3/klines", {"symbol": "BTCUSDT"}, -1102,
         "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."),
        ("/api/v3/klines", {"symbol": "BOGUS", "interval": "1h"}, -1121, "Invalid symbol."),
        ("/api/v3/klines", {"symbol": "btcusdt", "interval": "1h"}, -1100,
         "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."),
        ("/api/v3/klines", {"symbol": "BTC/USDT", "interval": "1h"}, -1100,
         "Illegal characters found in parameter 'symbol'"),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "60"}, -1120, "Invalid interval."),
        ("/api/v3/klines", {**SPOT_KLINES, "limit": "-1"}, -1100, "Illegal characters found in parameter 'limit'"),
        ("/api/v3/klines", {**SPOT_KLINES, "limit": "0"}, -1130, "Data sent for parameter 'limit' is not valid."),
        ("/api/v3/klines", {**SPOT_KLINES, "startTime": "today"}, -1100,
         "Illegal characters found in parameter 'startTime'"),
        ("/api/v3/klines", {**SPOT_KLINES, "timeZone": "8"}, -1130, "Data sent for parameter 'timeZone' is not valid."),
        ("/api/v3/klines", {**SPOT_KLINES, "page": "2"}, -1104,
         "Not all sent parameters were read; read '2' parameter(s) but was sent '3'."),
        ("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": "1", "startTime": "1"}, -1128,
         "Combination of optional parameters invalid."),
        ("/api/v3/exchangeInfo", {"symbol": "BTCUSDT", "symbols": '["ETHUSDT"]'}, -1128, "Combination of optional"),
        ("/api/v3/exchangeInfo", {"symbols": "[1]"}, -1100, "Illegal characters found in parameter 'symbols'"),
        ("/api/v3/exchangeInfo", {"symbols": '["NOPE"]'}, -1121, "Invalid symbol."),
        ("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "7"}, -1100,
         "Illegal characters found in parameter 'limit'; legal range is '5, 10, 20, 50, 100, 500, 1000, 5000'."),
        ("/fapi/v1/klines", {**SPOT_KLINES, "limit": "1501"}, -1130, "Data sent for parameter 'limit' is not valid."),
        ("/fapi/v1/klines", {**SPOT_KLINES, "startTime": "2", "endTime": "1"}, -1023,
         "Start time is greater than end time."),
        ("/fapi/v1/fundingRate", {"symbol": "NOPE"}, -1121, "Invalid symbol."),
        ("/fapi/v1/fundingRate", {"limit": "1001"}, -1130, "Data sent for parameter 'limit' is not valid."),
        ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": "7"}, -4021, "'7' is not valid depth limit."),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT", "startTime": "1", "endTime": "3600002"}, -1127,
         "More than 1 hours between startTime and endTime."),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_in_the_exchanges_words(
    path: str, query: dict[str, str], code: int, message: str
) -> None:
    with pytest.raises(RefusalError) as refused:
        ask(path, **query)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert refused.value.message.startswith(message)


def test_a_symbol_that_is_not_listed_yet_is_unknown() -> None:
    endpoint = endpoint_of("/api/v3/klines")
    assert endpoint is not None
    query = {"symbol": "SOLUSDT", "interval": "1d"}
    with pytest.raises(RefusalError, match=r"Invalid symbol\."):
        endpoint.answer(MARKET, Parameters("spot", query, MARKET, 1_500_000_000_000))


@pytest.mark.parametrize(
    ("path", "query", "rows"),
    [
        ("/api/v3/klines", SPOT_KLINES, 500),
        ("/api/v3/klines", {**SPOT_KLINES, "limit": "5000"}, 1000),
        ("/fapi/v1/klines", {**SPOT_KLINES, "limit": "1500"}, 1500),
        ("/fapi/v1/fundingRate", {"symbol": "BTCUSDT"}, 100),
        ("/fapi/v1/fundingRate", {"symbol": "BTCUSDT", "limit": "1000"}, 1000),
        ("/api/v3/trades", {"symbol": "BTCUSDT"}, 500),
        ("/api/v3/historicalTrades", {"symbol": "BTCUSDT", "limit": "9999"}, 1000),
        ("/api/v3/aggTrades", {"symbol": "BTCUSDT"}, 500),
        ("/api/v3/klines", {**SPOT_KLINES, "startTime": "2", "endTime": "1"}, 0),
        ("/fapi/v1/premiumIndex", {}, 13),
    ],
)
def test_pages_have_the_exchanges_sizes(path: str, query: dict[str, str], rows: int) -> None:
    assert len(ask(path, **query)) == rows


def test_spot_takes_microseconds_as_well() -> None:
    milliseconds = ask("/api/v3/klines", **SPOT_KLINES, startTime=str(JANUARY), limit="2")
    assert ask("/api/v3/klines", **SPOT_KLINES, startTime=str(JANUARY * 1000), limit="2") == milliseconds


def test_futures_overlook_parameters_that_they_do_not_know() -> None:
    assert ask("/fapi/v1/klines", **SPOT_KLINES, limit="1", page="2")


def test_funding_of_all_symbols_comes_in_order_of_time() -> None:
    rows = ask("/fapi/v1/fundingRate", startTime=str(JANUARY), limit="1000")
    assert [row["fundingTime"] for row in rows] == sorted(row["fundingTime"] for row in rows)
    assert len({row["symbol"] for row in rows}) == 13
    newest = ask("/fapi/v1/fundingRate", limit="13")
    assert {row["symbol"] for row in newest} == {row["symbol"] for row in rows}


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ({"symbol": "BTCUSDT"}, ["BTCUSDT"]),
        ({"symbols": '["ETHUSDT","BTCUSDT"]'}, ["BTCUSDT", "ETHUSDT"]),
        ({"permissions": "LEVERAGED"}, []),
    ],
)
def test_the_instrument_list_can_be_narrowed(query: dict[str, str], symbols: list[str]) -> None:
    assert [one["symbol"] for one in ask("/api/v3/exchangeInfo", **query)["symbols"]] == symbols


def test_the_instrument_list_has_what_trades_by_then() -> None:
    endpoint = endpoint_of("/fapi/v1/exchangeInfo")
    assert endpoint is not None
    info = endpoint.answer(MARKET, Parameters("um", {}, MARKET, 1_570_000_000_000))
    assert [one["symbol"] for one in info["symbols"]] == ["BTCUSDT"]


def test_the_coin_margined_list_is_empty_and_the_funding_terms_are_not() -> None:
    assert ask("/dapi/v1/exchangeInfo")["symbols"] == []
    assert {one["fundingIntervalHours"] for one in ask("/fapi/v1/fundingInfo")} == {8}


def test_the_average_price_is_near_the_last_one() -> None:
    body = ask("/api/v3/avgPrice", symbol="BTCUSDT")
    last = ask("/api/v3/klines", **SPOT_KLINES, limit="1")[0][4]
    assert body["mins"] == 5
    assert abs(float(body["price"]) / float(last) - 1) < 0.01


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/api/v3/ping", {}, 1),
        ("/api/v3/time", {}, 1),
        ("/api/v3/exchangeInfo", {}, 20),
        ("/api/v3/klines", {"limit": "1000"}, 2),
        ("/api/v3/trades", {}, 25),
        ("/api/v3/historicalTrades", {}, 25),
        ("/api/v3/aggTrades", {}, 4),
        ("/api/v3/depth", {}, 5),
        ("/api/v3/depth", {"limit": "500"}, 25),
        ("/api/v3/depth", {"limit": "1000"}, 50),
        ("/api/v3/depth", {"limit": "5000"}, 250),
        ("/fapi/v1/klines", {"limit": "99"}, 1),
        ("/fapi/v1/klines", {"limit": "100"}, 2),
        ("/fapi/v1/klines", {}, 5),
        ("/fapi/v1/klines", {"limit": "1000"}, 5),
        ("/fapi/v1/klines", {"limit": "1001"}, 10),
        ("/fapi/v1/klines", {"limit": "many"}, 5),
        ("/fapi/v1/aggTrades", {}, 20),
        ("/fapi/v1/depth", {"limit": "50"}, 2),
        ("/fapi/v1/depth", {}, 10),
        ("/fapi/v1/depth", {"limit": "1000"}, 20),
        ("/fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}, 1),
        ("/fapi/v1/premiumIndex", {}, 10),
    ],
)
def test_calls_weigh_what_the_exchange_says(path: str, query: dict[str, str], expected: int) -> None:
    assert weight(path, **query) == expected


def test_there_is_no_endpoint_elsewhere() -> None:
    assert endpoint_of("/api/v3/order") is None
