"""ING-31: Binance's recorded lists parse completely and agree with ccxt's names."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketlake.errors import DataError
from marketlake.exchanges.binance.instruments import (
    futures_instruments,
    read_exchange_info,
    spot_instruments,
    weight_limit,
)


def spot_list(folder: Path, name: str = "binance-spot/api_v3_exchangeInfo.json.gz") -> Any:
    return read_exchange_info(gzip.decompress((folder / "rest" / name).read_bytes()).decode())


def futures_list(folder: Path) -> Any:
    return read_exchange_info((folder / "rest" / "binance-um" / "fapi_v1_exchangeInfo.json").read_text())


def test_every_recorded_symbol_is_named_as_ccxt_names_it(recorded_data: Path) -> None:
    import ccxt

    exchange = ccxt.binance({"options": {"crossMarginPairsData": [], "isolatedMarginPairsData": []}})
    spot, futures = spot_list(recorded_data), futures_list(recorded_data)
    listed = spot_instruments(spot) + futures_instruments(futures)

    theirs = [exchange.parse_market(item) for item in spot["symbols"] + futures["symbols"]]

    assert len(listed) == len(theirs) == 1695 + 122
    kinds = {"spot": "spot", "swap": "perpetual", "future": "future"}
    assert [(i.exchange_symbol, i.symbol, i.market_type, float(i.price_tick or 0)) for i in listed] == [
        (m["id"], m["symbol"], kinds[m["type"]], m["precision"]["price"] or 0) for m in theirs
    ]
    assert [float(i.amount_step or 0) for i in listed] == [m["precision"]["amount"] for m in theirs]


def test_the_list_of_2019_parses_too(recorded_data: Path) -> None:
    tree = spot_list(recorded_data, "binance-spot-2019/exchange_info.json.gz")

    listed = spot_instruments(tree)

    assert len(listed) == len(tree["symbols"]) > 400
    assert listed[0].symbol == "ETH/BTC"


def test_ticks_steps_and_listing_dates_are_exact(recorded_data: Path) -> None:
    spot = {i.symbol: i for i in spot_instruments(spot_list(recorded_data))}
    futures = {i.symbol: i for i in futures_instruments(futures_list(recorded_data))}

    bitcoin, perpetual, quarterly = spot["BTC/USDT"], futures["BTC/USDT:USDT"], futures["BTC/USDT:USDT-210924"]

    assert (bitcoin.price_tick, bitcoin.amount_step) == (Decimal("0.01"), Decimal("0.00001"))
    assert (bitcoin.margin_asset, bitcoin.listed_at, bitcoin.delisted_at) == (None, None, None)
    assert (perpetual.margin_asset, perpetual.contract_multiplier) == ("USDT", 1)
    assert perpetual.listed_at == datetime(2019, 9, 25, 8, tzinfo=UTC)
    assert (perpetual.delisted_at, quarterly.market_type) == (None, "future")
    assert quarterly.delisted_at == datetime(2021, 9, 24, 8, tzinfo=UTC)


def test_a_coin_margined_contract_counts_in_quote_currency() -> None:
    item = {
        "symbol": "BTCUSD_PERP", "pair": "BTCUSD", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
        "onboardDate": 1597042800000, "contractStatus": "TRADING", "contractSize": 100, "marginAsset": "BTC",
        "quoteAsset": "USD", "baseAsset": "BTC", "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.1"}],
    }  # fmt: skip
    dated = {**item, "symbol": "BTCUSD_250328", "contractType": "CURRENT_QUARTER", "deliveryDate": 1743148800000}

    perpetual, future = futures_instruments({"symbols": [item, dated]})

    assert (perpetual.symbol, perpetual.contract_multiplier, perpetual.margin_asset) == ("BTC/USD:BTC", 100, "BTC")
    assert (future.symbol, future.delisted_at) == ("BTC/USD:BTC-250328", datetime(2025, 3, 28, 8, tzinfo=UTC))


def test_a_delisted_contract_of_the_same_name_gives_way_to_the_listed_one() -> None:
    item = {"symbol": "XUSDT", "contractType": "PERPETUAL", "deliveryDate": 1743148800000, "marginAsset": "USDT",
            "quoteAsset": "USDT", "baseAsset": "X", "onboardDate": 1597042800000, "filters": []}  # fmt: skip
    again = {**item, "symbol": "XUSDT2", "deliveryDate": 4133404800000}

    [listed] = futures_instruments({"symbols": [item, again]})

    assert (listed.exchange_symbol, listed.delisted_at) == ("XUSDT2", None)


def test_the_weight_limit_is_the_published_one_per_minute(recorded_data: Path) -> None:
    assert weight_limit(spot_list(recorded_data)) == 1200
    assert weight_limit(futures_list(recorded_data)) == 2400
    assert weight_limit({"rateLimits": []}) is None


def test_a_list_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no list of symbols"):
        read_exchange_info(json.dumps({"code": 0}))
    with pytest.raises(DataError, match="holds no symbols"):
        spot_instruments({"symbols": []})
    with pytest.raises(DataError, match="without baseAsset"):
        spot_instruments({"symbols": [{"symbol": "XUSDT", "quoteAsset": "USDT"}]})
