"""The REST endpoints: which there are, what they weigh, and how each body is made from a market."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from marketlake.sandbox import instruments, refusals
from marketlake.sandbox.listings import SPOT, UM, Listing
from marketlake.sandbox.market import Ask, Market
from marketlake.sandbox.parameters import Parameters

_HOUR_MS = 3_600_000
Body = Any


@dataclass(frozen=True)
class Endpoint:
    """One address of the API: its market, its name, how to weigh and to answer a call."""

    venue: str
    name: str
    weigh: Callable[[dict[str, str]], int]
    answer: Callable[[Market, Parameters], Body]


def endpoint_of(path: str) -> Endpoint | None:
    """Return the endpoint at a path such as `/api/v3/klines`."""
    return _ENDPOINTS.get(path)


def ask_of(parameters: Parameters, limit: int, *, by_id: bool = False) -> Ask:
    """Return the page that a call wants."""
    return Ask(
        parameters.now_ms,
        None if by_id else parameters.instant("startTime"),
        None if by_id else parameters.instant("endTime"),
        limit,
        parameters.number("fromId") if by_id else None,
    )


def _ping(market: Market, parameters: Parameters) -> Body:
    return {}


def _time(market: Market, parameters: Parameters) -> Body:
    return {"serverTime": parameters.now_ms}


def _exchange_info(market: Market, parameters: Parameters) -> Body:
    info = market.exchange_info(parameters.venue, parameters.now_ms)
    if parameters.venue != SPOT:
        return info
    wanted = _wanted_symbols(parameters)
    permissions = _names(parameters, "permissions")
    parameters.text("symbolStatus"), parameters.text("showPermissionSets")
    symbols = [
        one
        for one in info["symbols"]
        if (wanted is None or one["symbol"] in wanted)
        and (permissions is None or set(permissions) & set(one["permissions"]))
    ]
    return info | {"symbols": symbols}


def _wanted_symbols(parameters: Parameters) -> set[str] | None:
    one, many = parameters.optional_symbol(), _names(parameters, "symbols")
    if one is not None and many is not None:
        raise refusals.bad_combination()
    if one is not None:
        return {one.symbol}
    return None if many is None else {parameters.listing_named(name).symbol for name in many}


def _names(parameters: Parameters, name: str) -> list[str] | None:
    text = parameters.text(name)
    if not text:
        return None
    try:
        names = json.loads(text) if text.startswith("[") else [text]
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise refusals.illegal_characters(name, '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$')
    return names


def _klines(market: Market, parameters: Parameters) -> Body:
    listing, interval = parameters.symbol(), parameters.interval()
    ask = ask_of(parameters, parameters.limit(500, 1000 if parameters.venue == SPOT else 1500))
    if parameters.text("timeZone") not in ("", "0", "00:00", "+00:00", "-00:00"):
        raise refusals.invalid_data("timeZone")
    parameters.check_all_read()
    return [] if _is_reversed(parameters, ask) else market.klines(listing, interval, ask)


def _funding_rate(market: Market, parameters: Parameters) -> Body:
    listing = parameters.optional_symbol()
    ask = ask_of(parameters, parameters.limit(100, 1000))
    if _is_reversed(parameters, ask):
        return []
    if listing is not None:
        return market.funding(listing, ask)
    rows = [row for one in market.listings(UM).values() for row in market.funding(one, ask)]
    rows.sort(key=lambda row: (row["fundingTime"], row["symbol"]))
    return rows[: ask.limit] if ask.start_ms is not None else rows[-ask.limit :]


def _funding_info(market: Market, parameters: Parameters) -> Body:
    return [instruments.funding_info(one) for one in _listed(market, parameters)]


def _premium_index(market: Market, parameters: Parameters) -> Body:
    listing = parameters.optional_symbol()
    if listing is not None:
        return market.premium_index(listing, parameters.now_ms)
    return [market.premium_index(one, parameters.now_ms) for one in _listed(market, parameters)]


def _listed(market: Market, parameters: Parameters) -> list[Listing]:
    return [one for one in market.listings(UM).values() if one.listed_ms <= parameters.now_ms]


def _trades(market: Market, parameters: Parameters) -> Body:
    listing = parameters.symbol()
    limit = parameters.limit(500, 1000)
    parameters.check_all_read()
    return market.trades(listing, Ask(parameters.now_ms, limit=limit))


def _historical_trades(market: Market, parameters: Parameters) -> Body:
    listing = parameters.symbol()
    ask = ask_of(parameters, parameters.limit(500, 1000), by_id=True)
    parameters.check_all_read()
    return market.trades(listing, ask)


def _agg_trades(market: Market, parameters: Parameters) -> Body:
    listing = parameters.symbol()
    limit = parameters.limit(500, 1000)
    by_time, by_id = ask_of(parameters, limit), ask_of(parameters, limit, by_id=True)
    parameters.check_all_read()
    if by_id.from_id is not None:
        if parameters.venue == SPOT and (by_time.start_ms is not None or by_time.end_ms is not None):
            raise refusals.bad_combination()
        return market.agg_trades(listing, by_id)
    if by_time.start_ms is not None and by_time.end_ms is not None:
        if parameters.venue == UM and by_time.end_ms - by_time.start_ms > _HOUR_MS:
            raise refusals.RefusalError(400, -1127, "More than 1 hours between startTime and endTime.")
        if _is_reversed(parameters, by_time):
            return []
    return market.agg_trades(listing, by_time)


def _depth(market: Market, parameters: Parameters) -> Body:
    listing, limit = parameters.symbol(), parameters.depth_limit()
    parameters.text("symbolStatus")
    parameters.check_all_read()
    return market.depth(listing, limit, parameters.now_ms)


def _average_price(market: Market, parameters: Parameters) -> Body:
    listing = parameters.symbol()
    parameters.check_all_read()
    rows = market.klines(listing, "5m", Ask(parameters.now_ms, limit=1))
    price = rows[-1][4] if rows else "0.00000000"
    return {"mins": 5, "price": price}


def _no_coin_margined(market: Market, parameters: Parameters) -> Body:
    info = market.exchange_info(UM, parameters.now_ms)
    return {name: value for name, value in info.items() if name not in ("assets", "futuresType")} | {"symbols": []}


def _is_reversed(parameters: Parameters, ask: Ask) -> bool:
    """Whether the bounds are the wrong way round: USD-M says so, spot answers with nothing."""
    if ask.start_ms is None or ask.end_ms is None or ask.start_ms <= ask.end_ms:
        return False
    if parameters.venue == UM:
        raise refusals.RefusalError(400, -1023, "Start time is greater than end time.")
    return True


def _fixed(weight: int) -> Callable[[dict[str, str]], int]:
    return lambda query: weight


def _by_limit(default: int, steps: tuple[tuple[int, int], ...], above: int) -> Callable[[dict[str, str]], int]:
    """Weigh by the limit asked for: the weight of the first step that it does not exceed, else `above`."""

    def weigh(query: dict[str, str]) -> int:
        text = query.get("limit", "")
        limit = int(text) if text.isdigit() and len(text) < 10 else default
        return next((weight for most, weight in steps if limit <= most), above)

    return weigh


def _by_symbol(one: int, every: int) -> Callable[[dict[str, str]], int]:
    return lambda query: one if query.get("symbol") else every


_UM_KLINES = _by_limit(500, ((99, 1), (499, 2), (1000, 5)), 10)
_SPOT_DEPTH = _by_limit(100, ((100, 5), (500, 25), (1000, 50)), 250)
_UM_DEPTH = _by_limit(500, ((50, 2), (100, 5), (500, 10)), 20)
_TABLE = (
    (SPOT, "/api/v3", "ping", _fixed(1), _ping),
    (SPOT, "/api/v3", "time", _fixed(1), _time),
    (SPOT, "/api/v3", "exchangeInfo", _fixed(20), _exchange_info),
    (SPOT, "/api/v3", "klines", _fixed(2), _klines),
    (SPOT, "/api/v3", "uiKlines", _fixed(2), _klines),
    (SPOT, "/api/v3", "trades", _fixed(25), _trades),
    (SPOT, "/api/v3", "historicalTrades", _fixed(25), _historical_trades),
    (SPOT, "/api/v3", "aggTrades", _fixed(4), _agg_trades),
    (SPOT, "/api/v3", "depth", _SPOT_DEPTH, _depth),
    (SPOT, "/api/v3", "avgPrice", _fixed(2), _average_price),
    (UM, "/fapi/v1", "ping", _fixed(1), _ping),
    (UM, "/fapi/v1", "time", _fixed(1), _time),
    (UM, "/fapi/v1", "exchangeInfo", _fixed(1), _exchange_info),
    (UM, "/fapi/v1", "klines", _UM_KLINES, _klines),
    (UM, "/fapi/v1", "trades", _fixed(5), _trades),
    (UM, "/fapi/v1", "historicalTrades", _fixed(20), _historical_trades),
    (UM, "/fapi/v1", "aggTrades", _fixed(20), _agg_trades),
    (UM, "/fapi/v1", "depth", _UM_DEPTH, _depth),
    (UM, "/fapi/v1", "fundingRate", _fixed(1), _funding_rate),
    (UM, "/fapi/v1", "fundingInfo", _fixed(1), _funding_info),
    (UM, "/fapi/v1", "premiumIndex", _by_symbol(1, 10), _premium_index),
    (UM, "/dapi/v1", "ping", _fixed(1), _ping),
    (UM, "/dapi/v1", "time", _fixed(1), _time),
    (UM, "/dapi/v1", "exchangeInfo", _fixed(1), _no_coin_margined),
)
_ENDPOINTS = {f"{root}/{name}": Endpoint(venue, name, weigh, answer) for venue, root, name, weigh, answer in _TABLE}
