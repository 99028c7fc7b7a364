"""Binance's client: addresses, weights, pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from marketlake.errors import ConfigError, UnknownNameError
from marketlake.exchanges.binance.client import ENDPOINTS, Client
from marketlake.exchanges.budget import LocalBudget
from marketlake.exchanges.clock import measure_clock
from marketlake.exchanges.failures import MarketRefusedError, UnreadableBodyError
from marketlake.exchanges.http import Requester, http_client
from marketlake.exchanges.registry import EXCHANGES
from marketlake.instants import OffsetClock, Window, from_epoch_ms, parse_instant, to_epoch_ms
from marketlake.settings import Exchange
from marketlake.work import Market
from tests.unit.exchanges.conftest import PreparedServer

Make = Callable[..., Requester]
SPOT = Market("spot", "BTC/USDT", "BTCUSDT")
PERPETUAL = Market("perpetual", "BTC/USDT:USDT", "BTCUSDT")
MARCH = Window(parse_instant("2023-03-01"), parse_instant("2023-04-01"))


class CountingBudget(LocalBudget):
    """Grants everything and notes it."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[tuple[str, int]] = []
        self.limits: dict[str, int] = {}

    def draw(self, scope: str, weight: int) -> float:
        self.drawn.append((scope, weight))
        return 0.0

    def set_limit(self, scope: str, limit: int) -> None:
        self.limits[scope] = limit


@pytest.fixture
def budget() -> CountingBudget:
    return CountingBudget()


@pytest.fixture
def client(server: PreparedServer, make_requester: Make, budget: CountingBudget) -> Client:
    section = Exchange(rest_url=server.url + "/", futures_rest_url=server.url)
    return Client(section, make_requester(budget=budget))


def test_the_recorded_page_with_the_outage_is_taken_whole(
    client: Client, server: PreparedServer, budget: CountingBudget, recorded_data: Path
) -> None:
    body = (recorded_data / "rest" / "binance-spot" / "klines_BTCUSDT_1h_2023-03-01.json").read_text()
    server.add("/api/v3/klines", 200, body)

    page = client.page("ohlcv", SPOT, timeframe="1h", window=MARCH)

    assert (page.row_count, page.next_since) == (743, MARCH.end)
    assert page.response.text == body
    assert page.response.source_ref == "/api/v3/klines?symbol=BTCUSDT&interval=1h"
    [(_, query, _)] = server.requests
    assert query == {
        "symbol": "BTCUSDT", "interval": "1h", "startTime": "1677628800000", "endTime": "1680307199999", "limit": "744",
    }  # fmt: skip
    assert budget.drawn == [("spot", 2)]


def test_the_next_page_starts_one_timeframe_after_the_last_row_in_whatever_order_rows_come(
    client: Client, server: PreparedServer
) -> None:
    start = to_epoch_ms(MARCH.start)
    rows = [[start + 7200000 + 3600000, "1"], [start + 3600000, "1"], ["damaged"], {}, [start + 7200000]]
    server.add("/api/v3/klines", 200, json.dumps(rows))

    page = client.page("ohlcv", SPOT, timeframe="1h", window=MARCH)

    assert page.next_since == MARCH.start + timedelta(hours=4)


@pytest.mark.parametrize("time", [10**15 * 9, 10**30, -1, 0, "x", None, 1e300, [1]])
def test_a_row_with_an_absurd_time_does_not_move_the_next_page(
    client: Client, server: PreparedServer, time: object
) -> None:
    server.add("/api/v3/klines", 200, json.dumps([[to_epoch_ms(MARCH.start), "1"], [time, "1"]]))

    page = client.page("ohlcv", SPOT, timeframe="1h", window=MARCH)

    assert (page.row_count, page.next_since) == (2, MARCH.start + timedelta(hours=1))


@pytest.mark.parametrize("per_ms", [1, 1_000, 1_000_000])
def test_the_next_page_is_found_whatever_unit_the_times_have(
    client: Client, server: PreparedServer, per_ms: int
) -> None:
    server.add("/api/v3/klines", 200, json.dumps([[to_epoch_ms(MARCH.start) * per_ms, "1"]]))

    page = client.page("ohlcv", SPOT, timeframe="1h", window=MARCH)

    assert page.next_since == MARCH.start + timedelta(hours=1)


def test_an_absurd_server_time_is_an_unreadable_body(client: Client, server: PreparedServer) -> None:
    server.add("/api/v3/time", 200, json.dumps({"serverTime": 10**17 * 99}))

    with pytest.raises(UnreadableBodyError, match=r"serverTime 9900.* is no instant.*check the address"):
        client.server_time()


def test_an_empty_page_has_no_next(client: Client, server: PreparedServer) -> None:
    server.add("/api/v3/klines", 200, "[]")

    assert client.page("ohlcv", SPOT, timeframe="1h", window=MARCH).next_since is None


@pytest.mark.parametrize(("count", "follows"), [(1, False), (98, False), (99, True)])
def test_rows_of_before_the_start_end_a_page_that_has_room_for_more_and_go_nowhere_in_a_full_one(
    client: Client, server: PreparedServer, count: int, follows: bool
) -> None:
    hours = [MARCH.start - timedelta(hours=1 + before) for before in range(count)]
    server.add("/api/v3/klines", 200, json.dumps([[to_epoch_ms(hour), "1"] for hour in hours]))

    page = client.page("ohlcv", SPOT, timeframe="1h", window=Window(MARCH.start, MARCH.start + timedelta(hours=1)))

    assert server.requests[0][1]["limit"] == "99"
    assert page.next_since == (MARCH.start if follows else None)


@pytest.mark.parametrize(
    ("hours", "limit", "weight"),
    [(1, "99", 1), (99, "99", 1), (100, "100", 2), (500, "500", 5), (1000, "1000", 5), (1500, "1500", 10)],
)
def test_a_page_of_futures_candles_costs_what_its_size_costs(
    client: Client, server: PreparedServer, budget: CountingBudget, hours: int, limit: str, weight: int
) -> None:
    server.add("/fapi/v1/klines", 200, "[]")

    client.page("ohlcv", PERPETUAL, timeframe="1h", window=Window(MARCH.start, MARCH.start + timedelta(hours=hours)))

    assert server.requests[0][1]["limit"] == limit
    assert budget.drawn == [("usdm", weight)]


def test_funding_goes_on_a_millisecond_after_its_last_event(
    client: Client, server: PreparedServer, budget: CountingBudget
) -> None:
    events = [{"symbol": "BTCUSDT", "fundingTime": 1677628800006, "fundingRate": "0.0001", "markPrice": ""}]
    server.add("/fapi/v1/fundingRate", 200, json.dumps(events))

    page = client.page("funding_rates", PERPETUAL, timeframe="", window=MARCH)

    assert page.next_since == from_epoch_ms(1677628800007)
    assert page.response.source_ref == "/fapi/v1/fundingRate?symbol=BTCUSDT"
    assert server.requests[0][1]["limit"] == "1000"
    assert budget.drawn == [("usdm_funding", 1)]


def test_an_event_stamped_just_before_its_minute_is_asked_for_with_it(client: Client, server: PreparedServer) -> None:
    start = to_epoch_ms(MARCH.start)
    early = [{"symbol": "BTCUSDT", "fundingTime": start - 2, "fundingRate": "0.0001", "markPrice": ""}]
    server.add("/fapi/v1/fundingRate", 200, json.dumps(early))

    page = client.page("funding_rates", PERPETUAL, timeframe="", window=MARCH)
    client.page(
        "funding_rates", PERPETUAL, timeframe="", window=Window(MARCH.start + timedelta(milliseconds=7), MARCH.end)
    )

    # The page of the window holds it, and it is not taken for one of a server that ignores the start.
    assert (page.row_count, page.next_since) == (1, None)
    assert [query["startTime"] for _, query, _ in server.requests] == [str(start - 60_000), str(start + 7)]


def test_windows_are_cut_into_pages(client: Client) -> None:
    parts = client.page_windows("ohlcv", SPOT, timeframe="1m", window=MARCH)

    assert len(parts) == -(-31 * 1440 // 1000)
    assert parts[0].length == timedelta(minutes=1000)
    assert (parts[0].start, parts[-1].end) == (MARCH.start, MARCH.end)
    assert all(one.end == other.start for one, other in pairwise(parts))
    funding = client.page_windows("funding_rates", PERPETUAL, timeframe="", window=MARCH)
    assert funding == [MARCH]


def test_page_sizes_are_those_of_the_registry_and_of_ccxt() -> None:
    import ccxt

    pages = EXCHANGES["binance"].capabilities.page_rows

    assert {key: endpoint.page_rows for key, endpoint in ENDPOINTS.items()} == dict(pages)
    # ccxt states spot's largest page; for futures its 500 is the exchange's default, the documentation says 1500.
    assert ccxt.binance().features["spot"]["fetchOHLCV"]["limit"] == pages["ohlcv", "spot"]


def test_the_clock_and_the_market_are_read_from_the_time_answer(
    client: Client, server: PreparedServer, recorded_data: Path
) -> None:
    recorded = (recorded_data / "rest" / "binance-spot-2019" / "time.json").read_text()
    server.add("/api/v3/time", 200, recorded)
    server.add("/api/v3/time", 200, recorded, X_Marketlake_Market="synthetic:7")

    live, sandbox = client.server_time(), client.server_time()

    assert live.instant == from_epoch_ms(json.loads(recorded)["serverTime"])
    assert (live.market, sandbox.market) == ("live", "synthetic:7")


def test_the_instrument_list_gives_the_published_limits_to_the_budget(
    client: Client, server: PreparedServer, budget: CountingBudget, recorded_data: Path
) -> None:
    rest = recorded_data / "rest"
    server.add("/api/v3/exchangeInfo", 200, (rest / "binance-spot" / "exchangeInfo_subset_derived.json").read_text())
    server.add("/fapi/v1/exchangeInfo", 200, (rest / "binance-um" / "exchangeInfo_subset_derived.json").read_text())

    listed = client.instruments()

    assert {i.symbol for i in listed} >= {"BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-210924", "XRP/ETH"}
    assert len(listed) == 8 + 6
    assert budget.limits == {"spot": 1200, "usdm": 2400, "usdm_funding": 100}


def test_what_the_exchange_does_not_offer_is_refused_by_name(client: Client) -> None:
    with pytest.raises(UnknownNameError, match=r"no funding_rates of spot markets by REST \(BTC/USDT\)"):
        client.page("funding_rates", SPOT, timeframe="", window=MARCH)
    coin = Market("perpetual", "BTC/USD:BTC", "BTCUSD_PERP")
    with pytest.raises(MarketRefusedError, match="BTC/USD:BTC is coin-margined"):
        client.page("ohlcv", coin, timeframe="1h", window=MARCH)


def test_a_missing_address_is_named(make_requester: Make) -> None:
    client = Client(Exchange(rest_url="http://x"), make_requester())

    with pytest.raises(ConfigError, match=r"exchanges\.binance\.futures_rest_url is empty"):
        client.page("ohlcv", PERPETUAL, timeframe="1h", window=MARCH)


def test_pauses_before_the_answer_do_not_count_as_the_clocks_deviation(server: PreparedServer) -> None:
    now = OffsetClock().now()
    server.add("/api/v3/time", 429, "{}", Retry_After="2")
    server.add("/api/v3/time", 200, json.dumps({"serverTime": to_epoch_ms(now) + 2000}))
    with http_client(timeout_seconds=5) as http:
        requester = Requester(
            http, exchange="binance", scopes=("spot", "usdm"), budget=LocalBudget(), clock=OffsetClock()
        )

        deviation = measure_clock(Client(Exchange(rest_url=server.url), requester)).deviation

    # Half of the two seconds would be the error if the whole call were taken for the request.
    assert abs(deviation.total_seconds()) < 0.9
