"""The clients read every recorded body of Binance as it came: our own what they use, ccxt the rest."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import ccxt
import pytest

from marketlake.exchanges.binance.client import Client
from marketlake.exchanges.http import Requester
from marketlake.instants import Window, from_epoch_ms
from marketlake.settings import Exchange
from marketlake.work import Market
from tests.unit.exchanges.conftest import PreparedServer

Make = Callable[..., Requester]
LENGTHS = {"1h": 3_600_000, "15m": 900_000}


def recorded_requests(folder: Path, part: str) -> list[tuple[str, dict[str, str], str]]:
    """Return path, query and body of each recorded request to Binance whose path ends so."""
    found = []
    with (folder / "rest" / "INDEX.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            parts = urlsplit(row["url"])
            if row["file"].split("/")[0] in ("binance-spot", "binance-um") and parts.path.endswith(part):
                content = (folder / "rest" / row["file"]).read_bytes()
                text = (gzip.decompress(content) if row["file"].endswith(".gz") else content).decode()
                found.append((parts.path, {key: values[0] for key, values in parse_qs(parts.query).items()}, text))
    return found


@pytest.fixture
def client(server: PreparedServer, make_requester: Make) -> Client:
    return Client(Exchange(rest_url=server.url, futures_rest_url=server.url), make_requester())


def test_every_recorded_body_is_read_here(recorded_data: Path) -> None:
    kinds = [len(recorded_requests(recorded_data, part)) for part in ("/klines", "/exchangeInfo", "/depth", "")]

    assert kinds == [3, 4, 8, 15]


def test_our_client_takes_each_recorded_page_of_candles_whole(
    client: Client, server: PreparedServer, recorded_data: Path
) -> None:
    for path, query, body in recorded_requests(recorded_data, "/klines"):
        server.answers.pop(path, None)
        server.add(path, 200, body)
        market = Market("spot", query["symbol"].replace("USDT", "/USDT"), query["symbol"])
        window = Window(from_epoch_ms(int(query["startTime"])), from_epoch_ms(int(query["endTime"]) + 1))

        page = client.page("ohlcv", market, timeframe=query["interval"], window=window)

        rows = json.loads(body)
        assert (page.response.text, page.row_count) == (body, len(rows))
        assert page.next_since == from_epoch_ms(rows[-1][0] + LENGTHS[query["interval"]])


@pytest.mark.parametrize("spot", ["api_v3_exchangeInfo.json.gz", "exchangeInfo_subset_derived.json"])
@pytest.mark.parametrize("futures", ["fapi_v1_exchangeInfo.json", "exchangeInfo_subset_derived.json"])
def test_our_client_lists_each_market_of_the_recorded_lists(
    client: Client, server: PreparedServer, recorded_data: Path, spot: str, futures: str
) -> None:
    bodies = []
    for path, folder, name in (
        ("/api/v3/exchangeInfo", "binance-spot", spot),
        ("/fapi/v1/exchangeInfo", "binance-um", futures),
    ):
        content = (recorded_data / "rest" / folder / name).read_bytes()
        bodies.append((gzip.decompress(content) if name.endswith(".gz") else content).decode())
        server.add(path, 200, bodies[-1])

    listed = client.instruments()

    names = [item["symbol"] for body in bodies for item in json.loads(body)["symbols"]]
    assert [instrument.exchange_symbol for instrument in listed] == names


def test_ccxt_reads_each_recorded_book_as_it_stands(recorded_data: Path) -> None:
    for path, query, body in recorded_requests(recorded_data, "/depth"):
        exchange = ccxt.binanceusdm() if path.startswith("/fapi") else ccxt.binance()
        tree = json.loads(body)

        book = exchange.parse_order_book(tree, query["symbol"], tree.get("T"))

        for side in ("bids", "asks"):
            assert book[side] == [[float(price), float(amount)] for price, amount in tree[side]]
        assert book["bids"][0][0] < book["asks"][0][0]


def test_ccxt_reads_each_recorded_page_of_candles(recorded_data: Path) -> None:
    for _, query, body in recorded_requests(recorded_data, "/klines"):
        rows = json.loads(body)

        candles = ccxt.binance().parse_ohlcvs(rows, {"symbol": query["symbol"], "spot": True}, query["interval"])

        assert candles == [[row[0], *map(float, row[1:6])] for row in rows]
