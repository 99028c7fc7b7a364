"""The control endpoints under /sandbox/: faults, clock, request log, and what market this is."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from marketlake.errors import MarketlakeError, UsageError, one_of
from marketlake.instants import format_instant
from marketlake.sandbox.exchange import Exchange
from marketlake.sandbox.fault_kinds import registry
from marketlake.sandbox.listings import VENUES


class Control:
    """Steers one exchange over HTTP; a wrong request gets 400 and one sentence."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def add_routes(self, app: web.Application) -> None:
        """Register the control endpoints."""
        router = app.router
        router.add_get("/sandbox/faults", self.list_faults)
        router.add_post("/sandbox/faults", self.add_fault)
        router.add_delete("/sandbox/faults", self.remove_faults)
        router.add_get("/sandbox/clock", self.show_clock)
        router.add_post("/sandbox/clock", self.set_clock)
        router.add_get("/sandbox/requests", self.list_requests)
        router.add_delete("/sandbox/requests", self.clear_requests)
        router.add_get("/sandbox/market", self.show_market)

    async def list_faults(self, request: web.Request) -> web.Response:
        """Return the faults that are on, and with ?known=1 all that there are."""
        if request.query.get("known"):
            return web.json_response(registry())
        return web.json_response(self.exchange.faults.documents())

    async def add_fault(self, request: web.Request) -> web.Response:
        """Switch a fault on: {"name": "gaps", "symbol": "BTCUSDT", …}."""
        try:
            body = await _object(request)
            name = body.pop("name", None)
            parameters = body.pop("parameters", {})
            if not isinstance(parameters, dict):
                raise UsageError("parameters must be a JSON object")
            fault = self.exchange.faults.add(str(name), **parameters, **body)
        except MarketlakeError as error:
            return _wrong(error)
        return web.json_response(fault.document(), status=201)

    async def remove_faults(self, request: web.Request) -> web.Response:
        """Switch all faults off, those of ?name=, or one by ?id=."""
        number = request.query.get("id")
        try:
            if number is None:
                self.exchange.faults.clear(request.query.get("name"))
            elif number.isdigit():
                self.exchange.faults.remove(int(number))
            else:
                raise UsageError(f"id must be a number; was {number!r}")
        except MarketlakeError as error:
            return _wrong(error)
        return web.json_response(self.exchange.faults.documents())

    async def show_clock(self, request: web.Request) -> web.Response:
        """Return the exchange's time."""
        clock = self.exchange.clock
        return web.json_response({"now": format_instant(clock.now()), "frozen": clock.is_frozen})

    async def set_clock(self, request: web.Request) -> web.Response:
        """Set the clock: {"now": "2025-02-01T00:00:00Z", "frozen": true}, either of them."""
        try:
            body = await _object(request)
            unknown = set(body) - {"now", "frozen"}
            if unknown:
                raise UsageError(one_of("field", unknown.pop(), ("now", "frozen")))
            now, frozen = body.get("now"), body.get("frozen")
            if frozen is not None and not isinstance(frozen, bool):
                raise UsageError(f"frozen must be true or false; was {frozen!r}")
            self.exchange.clock.set(None if now is None else str(now), frozen=frozen)
        except MarketlakeError as error:
            return _wrong(error)
        return await self.show_clock(request)

    async def list_requests(self, request: web.Request) -> web.Response:
        """Return the log, oldest first; ?prefix=/api/v3/klines."""
        entries = self.exchange.log.entries(request.query.get("prefix", ""))
        return web.json_response([entry.document() for entry in entries])

    async def clear_requests(self, request: web.Request) -> web.Response:
        """Forget the log."""
        self.exchange.log.clear()
        return web.json_response([])

    async def show_market(self, request: web.Request) -> web.Response:
        """Return the market's name and symbols."""
        market = self.exchange.market
        symbols = {venue: [one.unified for one in market.listings(venue).values()] for venue in VENUES}
        return web.json_response({"market": market.name, "symbols": symbols})


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError:
        raise UsageError("the request's body must be a JSON object") from None
    if not isinstance(body, dict):
        raise UsageError("the request's body must be a JSON object")
    return body


def _wrong(error: MarketlakeError) -> web.Response:
    return web.json_response({"error": str(error)}, status=400)
