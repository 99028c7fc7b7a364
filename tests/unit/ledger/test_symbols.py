"""Tests for ``marketlake.ledger.symbols``."""

from __future__ import annotations

import pytest

from marketlake.datasets import FUNDING_RATES, OHLCV, Dataset
from marketlake.errors import UnknownSymbolError
from marketlake.ledger.symbols import resolve_symbol
from marketlake.work import Instrument


def spot(base: str, quote: str) -> Instrument:
    return Instrument("binance", f"{base}/{quote}", f"{base}{quote}", "spot", base, quote)


def perpetual(base: str, quote: str, margin: str, name: str) -> Instrument:
    return Instrument("binance", f"{base}/{quote}:{margin}", name, "perpetual", base, quote, margin)


DATED = Instrument("binance", "BTC/USDT:USDT-250328", "BTCUSDT_250328", "future", "BTC", "USDT", "USDT")
LISTED = [
    spot("BTC", "USDT"),
    spot("ETH", "USDT"),
    spot("XRP", "ETH"),
    perpetual("BTC", "USDT", "USDT", "BTCUSDT"),
    perpetual("BTC", "USD", "BTC", "BTCUSD_PERP"),
    DATED,
]


@pytest.mark.parametrize(
    ("text", "dataset", "symbol"),
    [
        ("BTC/USDT", OHLCV, "BTC/USDT"),
        ("btc/usdt", OHLCV, "BTC/USDT"),
        ("BTCUSDT", OHLCV, "BTC/USDT"),
        ("BTC-USDT", OHLCV, "BTC/USDT"),
        (" BTC_USDT ", OHLCV, "BTC/USDT"),
        ("BTC/USDT:USDT", OHLCV, "BTC/USDT:USDT"),
        ("BTC-USDT-PERP", OHLCV, "BTC/USDT:USDT"),
        ("BTCUSDT-PERP", OHLCV, "BTC/USDT:USDT"),
        ("BTCUSDT", FUNDING_RATES, "BTC/USDT:USDT"),
        ("BTC-USDT-PERP", FUNDING_RATES, "BTC/USDT:USDT"),
        ("BTC-USD-PERP", FUNDING_RATES, "BTC/USD:BTC"),
        ("BTCUSD_PERP", FUNDING_RATES, "BTC/USD:BTC"),
        ("BTCUSDT_250328", OHLCV, "BTC/USDT:USDT-250328"),
        ("XRPETH", OHLCV, "XRP/ETH"),
    ],
)
def test_every_way_to_type_a_market_means_one_symbol(text: str, dataset: Dataset, symbol: str) -> None:
    assert resolve_symbol(text, LISTED, dataset, {}).symbol == symbol


def test_btcusd_means_the_dollar_market_and_an_alias_may_point_it_elsewhere() -> None:
    with_dollars = [*LISTED, spot("BTC", "USD")]

    assert resolve_symbol("BTCUSD", with_dollars, OHLCV, {}).symbol == "BTC/USD"
    assert resolve_symbol("BTCUSD", LISTED, OHLCV, {"BTC/USD": "BTC/USDT", "BTCUSD": "BTC/USDT"}).symbol == "BTC/USDT"
    assert resolve_symbol("BTCUSD", with_dollars, OHLCV, {"BTC/USD": "BTC/USDT"}).symbol == "BTC/USDT"
    with pytest.raises(
        UnknownSymbolError, match="'BTCUSD' is not listed by binance; did you mean BTC/USD:BTC, BTC/USDT"
    ):
        resolve_symbol("BTCUSD", LISTED, OHLCV, {})


@pytest.mark.parametrize(
    "text", ["", "BTC'USDT", 'BTC"; drop table', "../etc/passwd", "BTC/USDT/..", "BTC\\USDT", "é/USDT"]
)
def test_quotes_and_path_characters_are_refused(text: str) -> None:
    with pytest.raises(UnknownSymbolError, match="is not a symbol; write it like BTC/USDT"):
        resolve_symbol(text, LISTED, OHLCV, {})


@pytest.mark.parametrize(
    ("text", "candidate"),
    [("BTC/USDC", "BTC/USDT"), ("BTCUSDC", "BTC/USDT"), ("BTC", "BTC/USDT"), ("USDTBTC", "BTC/USDT")],
)
def test_an_unknown_symbol_lists_the_candidates(text: str, candidate: str) -> None:
    with pytest.raises(UnknownSymbolError, match=f"'{text}' is not listed by binance; did you mean .*{candidate}"):
        resolve_symbol(text, LISTED, OHLCV, {})


def test_a_symbol_that_resembles_nothing_says_where_to_look() -> None:
    with pytest.raises(UnknownSymbolError, match="'DOGE/EUR' is not listed by binance; look at"):
        resolve_symbol("DOGE/EUR", LISTED, OHLCV, {})


def test_a_short_name_of_two_markets_of_one_kind_is_ambiguous() -> None:
    twice = [*LISTED, perpetual("BTC", "USDT", "BTC", "BTCUSDT_OTHER")]

    with pytest.raises(UnknownSymbolError, match="ambiguous: it may be BTC/USDT:USDT, BTC/USDT:BTC"):
        resolve_symbol("BTC-USDT-PERP", twice, OHLCV, {})


def test_a_spot_market_has_no_funding_and_the_error_names_the_one_that_has() -> None:
    with pytest.raises(UnknownSymbolError, match=r"BTC/USDT, a spot market.* perpetual only; write BTC/USDT:USDT"):
        resolve_symbol("BTC/USDT", LISTED, FUNDING_RATES, {})
    with pytest.raises(UnknownSymbolError, match="no market of that pair has them"):
        resolve_symbol("XRPETH", LISTED, FUNDING_RATES, {})
