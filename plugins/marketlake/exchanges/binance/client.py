"""Binance's REST interface: clock, instrument list, pages of candles and funding rates.

The exchange's own endpoints are asked, not ccxt's unified calls: ccxt returns floats and takes a truncated body for an
empty list. Weights and page sizes are those of Binance's documentation; limits come from `exchangeInfo`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from marketlake.errors import ConfigError, UnknownNameError
from marketlake.exchanges.binance.instruments import (
    futures_instruments,
    read_exchange_info,
    spot_instruments,
    weight_limit,
)
from marketlake.exchanges.epochs import instant_of_epoch
from marketlake.exchanges.failures import MarketRefusedError
from marketlake.exchanges.http import LIVE, MARKET_HEADER, Call, Requester
from marketlake.exchanges.protocol import Page, Response, ServerTime
from marketlake.instants import Window, floor_instant, to_epoch_ms
from marketlake.settings import Exchange
from marketlake.timeframes import grid_count, timeframe_length
from marketlake.work import Instrument, Market

USED_WEIGHT_HEADER = "x-mbx-used-weight-1m"
# fundingRate is not weighed but shares 500 calls in 5 minutes with fundingInfo; exchangeInfo does not publish that.
FUNDING_SCOPE = "usdm_funding"
FUNDING_CALLS_PER_MINUTE = 100
# Events come every 8 hours as a rule; where they come more often, a page is full and the next one goes on after it.
_USUAL_FUNDING_INTERVAL = timedelta(hours=8)
# How many trades come is not known before: ranges of this length are asked for side by side, each page by page.
_TRADES_RANGE = timedelta(minutes=10)
_MILLISECOND = timedelta(milliseconds=1)
# Asked for at least: fewer cost no less, and a page that is not full ends where it ends.
_FEW_ROWS = 99
# An event is stamped around the minute that it belongs to, rarely before it; a whole minute's own may be that early.
EARLY_FUNDING = timedelta(minutes=1)


@dataclass(frozen=True)
class Endpoint:
    """One paged endpoint: `weights` are (rows up to, weight), ascending; the last pair holds the largest page."""

    path: str
    base: str
    scope: str
    weights: tuple[tuple[int, int], ...]

    @property
    def page_rows(self) -> int:
        """The largest page."""
        return self.weights[-1][0]

    def weight(self, rows: int) -> int:
        """Return what a page of so many rows costs."""
        return next(weight for upto, weight in self.weights if rows <= upto)


_SPOT_KLINES = Endpoint("/api/v3/klines", "rest_url", "spot", ((1000, 2),))
_USDM_KLINES = Endpoint("/fapi/v1/klines", "futures_rest_url", "usdm", ((99, 1), (499, 2), (1000, 5), (1500, 10)))
_USDM_FUNDING = Endpoint("/fapi/v1/fundingRate", "futures_rest_url", FUNDING_SCOPE, ((1000, 1),))
_SPOT_TRADES = Endpoint("/api/v3/aggTrades", "rest_url", "spot", ((1000, 4),))
_USDM_TRADES = Endpoint("/fapi/v1/aggTrades", "futures_rest_url", "usdm", ((1000, 20),))
ENDPOINTS = {
    ("ohlcv", "spot"): _SPOT_KLINES,
    ("ohlcv", "perpetual"): _USDM_KLINES,
    ("ohlcv", "future"): _USDM_KLINES,
    ("funding_rates", "perpetual"): _USDM_FUNDING,
    ("trades", "spot"): _SPOT_TRADES,
    ("trades", "perpetual"): _USDM_TRADES,
    ("trades", "future"): _USDM_TRADES,
}


class Client:
    """A client of the addresses in the settings; holds no state but its requester's."""

    def __init__(self, settings: Exchange, requester: Requester) -> None:
        self._settings = settings
        self._requester = requester
        requester.budget.set_limit(FUNDING_SCOPE, FUNDING_CALLS_PER_MINUTE)

    def server_time(self) -> ServerTime:
        """Return the exchange's clock and the market behind the address; `live` unless a header says otherwise."""
        response = self._get("rest_url", "/api/v3/time", scope="spot", weight=1, read=_read_time)
        market = response.headers.get(MARKET_HEADER, LIVE)
        return ServerTime(response.body, market, response.requested_at, response.received_at)

    def instruments(self) -> list[Instrument]:
        """Return the spot and USD-M markets, and take over the published request limits."""
        spot = self._exchange_info("rest_url", "/api/v3/exchangeInfo", scope="spot", weight=20)
        listed = spot_instruments(spot)
        if self._settings.futures_rest_url:
            usdm = self._exchange_info("futures_rest_url", "/fapi/v1/exchangeInfo", scope="usdm", weight=1)
            listed += futures_instruments(usdm)
        return listed

    def page_windows(self, dataset: str, market: Market, *, timeframe: str, window: Window) -> list[Window]:
        """Return the window cut into parts that one page can hold."""
        endpoint = _endpoint(dataset, market)
        step = timeframe_length(timeframe) if dataset == "ohlcv" else _USUAL_FUNDING_INTERVAL
        length = _TRADES_RANGE if dataset == "trades" else step * endpoint.page_rows
        start, parts = window.start, list[Window]()
        while start < window.end:
            parts.append(Window(start, min(start + length, window.end)))
            start += length
        return parts

    def page(self, dataset: str, market: Market, *, timeframe: str, window: Window, from_id: str | None = None) -> Page:
        """Return the first page of rows inside the window, or from an id on.

        Bounds are inclusive at Binance, so the end is 1 ms less; an id goes with no bounds.
        """
        endpoint = _endpoint(dataset, market)
        rows = endpoint.page_rows
        names = {"symbol": market.exchange_symbol}
        if dataset == "ohlcv":
            names["interval"] = timeframe
            rows = max(_FEW_ROWS, min(rows, grid_count(window, timeframe)))
        start = window.start
        if dataset == "funding_rates" and floor_instant(start, EARLY_FUNDING) == start:
            start -= EARLY_FUNDING
        bounds = {
            "startTime": str(to_epoch_ms(start)),
            "endTime": str(to_epoch_ms(window.end - _MILLISECOND)),
        }
        if from_id is not None:
            bounds = {"fromId": from_id}
        response = self._get(
            endpoint.base,
            endpoint.path,
            scope=endpoint.scope,
            weight=endpoint.weight(rows),
            params={**names, **bounds, "limit": str(rows)},
            source_ref=f"{endpoint.path}?" + "&".join(f"{key}={value}" for key, value in names.items()),
            read=_read_list,
        )
        is_full = len(response.body) >= rows
        if dataset == "trades":
            return _page_by_id(response, window, is_full=is_full)
        place, step = (0, timeframe_length(timeframe)) if dataset == "ohlcv" else ("fundingTime", _MILLISECOND)
        following = _after_last(response.body, place, window, step)
        # Rows of before the window alone, and room for more: the window has none.
        is_over = following is not None and following <= window.start and not is_full
        return Page(response, len(response.body), None if is_over else following)

    def close(self) -> None:
        """Give the connections back."""
        self._requester.http.close()

    def _exchange_info(self, base: str, path: str, *, scope: str, weight: int) -> Any:
        tree = self._get(base, path, scope=scope, weight=weight, read=read_exchange_info).body
        limit = weight_limit(tree)
        if limit is not None:
            self._requester.budget.set_limit(scope, limit)
        return tree

    def _get(
        self,
        base: str,
        path: str,
        *,
        scope: str,
        weight: int,
        read: Any,
        params: dict[str, str] | None = None,
        source_ref: str = "",
    ) -> Response:
        address = getattr(self._settings, base).rstrip("/")
        if not address:
            raise ConfigError(f"exchanges.binance.{base} is empty; set the address that serves {path}")
        header = None if scope == FUNDING_SCOPE else USED_WEIGHT_HEADER
        call = Call(address + path, source_ref or path, scope, weight, params or {}, header)
        return self._requester.get(call, read=read)


def _endpoint(dataset: str, market: Market) -> Endpoint:
    endpoint = ENDPOINTS.get((dataset, market.market_type))
    if endpoint is None:
        raise UnknownNameError(f"binance offers no {dataset} of {market.market_type} markets by REST ({market.symbol})")
    base, _, settle = market.symbol.partition(":")
    if settle and settle.split("-")[0] == base.split("/")[0]:
        raise MarketRefusedError(f"{market.symbol} is coin-margined; only spot and USD-margined markets are read")
    return endpoint


def _read_time(text: str) -> datetime:
    tree = json.loads(text)
    if not isinstance(tree, dict) or not isinstance(tree.get("serverTime"), int):
        raise ValueError("no serverTime")
    instant = instant_of_epoch(tree["serverTime"])
    if instant is None:
        raise ValueError(f"serverTime {str(tree['serverTime'])[:30]} is no instant")
    return instant


def _read_list(text: str) -> list[Any]:
    tree = json.loads(text)
    if not isinstance(tree, list):
        raise ValueError("no list of rows")
    return tree


def _page_by_id(response: Response, window: Window, *, is_full: bool) -> Page:
    """Return the page of trades; after a full one that ends inside the window the next starts after its last id."""
    ids = [number for row in response.body if (number := _number(row, "a")) is not None]
    last = max((at for row in response.body if (at := _instant(row, "T")) is not None), default=None)
    if not is_full or not ids or last is None or last >= window.end:
        return Page(response, len(response.body), None)
    return Page(response, len(response.body), last, str(max(ids) + 1))


def _after_last(rows: list[Any], place: Any, window: Window, step: timedelta) -> datetime | None:
    """Return where the next page starts; a row whose time is garbled or not before the window's end tells nothing."""
    instants = [instant for row in rows if (instant := _instant(row, place)) is not None and instant < window.end]
    return max(instants) + step if instants else None


def _instant(row: Any, place: Any) -> datetime | None:
    number = _number(row, place)
    try:
        return None if number is None else instant_of_epoch(number)
    except (ArithmeticError, ValueError):
        return None


def _number(row: Any, place: Any) -> int | None:
    try:
        return int(row[place])
    except (LookupError, TypeError, ValueError):
        return None
