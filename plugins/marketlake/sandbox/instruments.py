"""Bodies that describe the exchange and its symbols: exchangeInfo, fundingInfo, premiumIndex, funding records."""

from __future__ import annotations

from typing import Any

from marketlake.sandbox.listings import SPOT, Listing
from marketlake.sandbox.market import Record

SPOT_WEIGHT, UM_WEIGHT = 6_000, 2_400
_SPOT_ORDERS = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]
_UM_ORDERS = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
_ASSETS = (("USDT", True, "-10000"), ("BTC", True, "-0.00100000"), ("BNB", False, "0"), ("ETH", True, "-5"),
           ("BUSD", True, "-10000"))  # fmt: skip
_FOREVER = 4_133_404_800_000


def exchange_info(venue: str, symbols: list[Record], now_ms: int) -> Record:
    """Return the body of exchangeInfo with these symbols."""
    head: Record = {"timezone": "UTC", "serverTime": now_ms}
    if venue == SPOT:
        limits = [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, SPOT_WEIGHT),
            _limit("ORDERS", "SECOND", 10, 100),
            _limit("ORDERS", "DAY", 1, 200_000),
            _limit("RAW_REQUESTS", "MINUTE", 5, 61_000),
        ]
        return head | {"rateLimits": limits, "exchangeFilters": [], "symbols": symbols}
    limits = [
        _limit("REQUEST_WEIGHT", "MINUTE", 1, UM_WEIGHT),
        _limit("ORDERS", "MINUTE", 1, 1200),
        _limit("ORDERS", "SECOND", 10, 300),
    ]
    assets = [{"asset": a, "marginAvailable": m, "autoAssetExchange": x} for a, m, x in _ASSETS]
    return head | {
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": assets,
        "symbols": symbols,
    }


def entry(listing: Listing) -> Record:
    """Return a symbol's entry in exchangeInfo."""
    return _spot_entry(listing) if listing.venue == SPOT else _um_entry(listing)


def funding_record(symbol: str, rate: str, time_ms: int, mark_price: str | None) -> Record:
    """Return one element of fundingRate."""
    return {"symbol": symbol, "fundingRate": rate, "fundingTime": time_ms, "markPrice": mark_price}


def premium_record(symbol: str, *, mark: float, index: float, rate: str, next_ms: int, now_ms: int) -> Record:
    """Return one element of premiumIndex."""
    return {
        "symbol": symbol,
        "markPrice": f"{mark:.8f}",
        "indexPrice": f"{index:.8f}",
        "estimatedSettlePrice": f"{index:.8f}",
        "lastFundingRate": rate,
        "interestRate": "0.00010000",
        "nextFundingTime": next_ms,
        "time": now_ms,
    }


def funding_info(listing: Listing) -> Record:
    """Return one element of fundingInfo."""
    return {
        "symbol": listing.symbol,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": listing.funding_interval_hours,
        "disclaimer": False,
    }


def _limit(kind: str, interval: str, number: int, limit: int) -> Record:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _unit(digits: int, shown: int) -> str:
    """10^-digits as text with `shown` digits after the point."""
    return f"{10**-digits:.{shown}f}" if shown else "1"


def _spot_entry(listing: Listing) -> Record:
    tick, step = _unit(listing.price_digits, 8), _unit(listing.amount_digits, 8)
    dear = listing.quote in ("USDT", "EUR")
    filters: list[dict[str, Any]] = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "5", "multiplierDown": "0.2", "avgPriceMins": 5},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
        {"filterType": "MIN_NOTIONAL", "minNotional": "10.00000000" if dear else "0.00010000", "applyToMarket": True,
         "avgPriceMins": 5},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "100000.00000000",
         "stepSize": "0.00000000"},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]  # fmt: skip
    return {
        "symbol": listing.symbol, "status": "TRADING", "baseAsset": listing.base, "baseAssetPrecision": 8,
        "quoteAsset": listing.quote, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8, "orderTypes": _SPOT_ORDERS, "icebergAllowed": True, "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True, "isSpotTradingAllowed": True, "isMarginTradingAllowed": True,
        "filters": filters, "permissions": ["SPOT", "MARGIN"],
    }  # fmt: skip


def _um_entry(listing: Listing) -> Record:
    tick = _unit(listing.price_digits, listing.price_digits)
    step = _unit(listing.amount_digits, listing.amount_digits)
    filters: list[dict[str, Any]] = [
        {"minPrice": tick, "maxPrice": "1000000", "filterType": "PRICE_FILTER", "tickSize": tick},
        {"stepSize": step, "filterType": "LOT_SIZE", "maxQty": "10000000", "minQty": step},
        {"stepSize": step, "filterType": "MARKET_LOT_SIZE", "maxQty": "100000", "minQty": step},
        {"limit": 200, "filterType": "MAX_NUM_ORDERS"},
        {"limit": 10, "filterType": "MAX_NUM_ALGO_ORDERS"},
        {"notional": "5", "filterType": "MIN_NOTIONAL"},
        {"multiplierDown": "0.8500", "multiplierUp": "1.1500", "multiplierDecimal": "4", "filterType": "PERCENT_PRICE"},
    ]
    return {
        "symbol": listing.symbol, "pair": listing.symbol, "contractType": "PERPETUAL", "deliveryDate": _FOREVER,
        "onboardDate": listing.listed_ms, "status": "TRADING", "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000", "baseAsset": listing.base, "quoteAsset": listing.quote,
        "marginAsset": listing.quote, "pricePrecision": listing.price_digits,
        "quantityPrecision": listing.amount_digits, "baseAssetPrecision": 8, "quotePrecision": 8,
        "underlyingType": "COIN", "underlyingSubType": [], "settlePlan": 0, "triggerProtect": "0.0500",
        "liquidationFee": "0.012000", "marketTakeBound": "0.30", "filters": filters, "orderTypes": _UM_ORDERS,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }  # fmt: skip
