"""Query parameters, checked in the exchange's order and refused in its words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from marketlake.sandbox import refusals
from marketlake.sandbox.intervals import INTERVALS
from marketlake.sandbox.listings import SPOT, Listing
from marketlake.sandbox.market import Market

_DIGITS = "^[0-9]{1,20}$"
_SYMBOL = "^[A-Z0-9-_.]{1,20}$"
_MICROSECONDS_FROM = 10**14
_SPOT_DEPTHS = (5, 10, 20, 50, 100, 500, 1000, 5000)
_UM_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)


class Parameters:
    """The query of one call; each getter reads one parameter."""

    def __init__(self, venue: str, query: Mapping[str, str], market: Market, now_ms: int) -> None:
        self.venue = venue
        self.now_ms = now_ms
        self._query = query
        self._market = market
        self._read: set[str] = set()

    def symbol(self) -> Listing:
        """Return the listing of the mandatory `symbol`."""
        if not self.text("symbol"):
            raise refusals.missing("symbol")
        return self._listing("symbol")

    def optional_symbol(self) -> Listing | None:
        """Return the listing of `symbol` where one was sent."""
        return self._listing("symbol") if self.text("symbol") else None

    def interval(self) -> str:
        """Return the mandatory candle interval."""
        interval = self.text("interval")
        if not interval:
            raise refusals.missing("interval")
        if interval not in INTERVALS:
            raise refusals.invalid_interval()
        return interval

    def instant(self, name: str) -> int | None:
        """Return milliseconds since 1970; spot takes microseconds as well."""
        value = self.number(name)
        if value is not None and value >= _MICROSECONDS_FROM and self.venue == SPOT:
            return value // 1000
        return value

    def number(self, name: str) -> int | None:
        """Return a whole number, or None where it was not sent."""
        text = self.text(name)
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,20}", text):
            raise refusals.illegal_characters(name, _DIGITS)
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """Return the page size: spot cuts it to the most it gives, USD-M refuses more."""
        value = self.number("limit")
        if value is None:
            return default
        if value < 1 or (value > most and self.venue != SPOT):
            raise refusals.invalid_data("limit")
        return min(value, most)

    def depth_limit(self) -> int:
        """Return the number of levels, one of the exchange's list."""
        value = self.number("limit")
        known = _SPOT_DEPTHS if self.venue == SPOT else _UM_DEPTHS
        if value is None:
            return 100 if self.venue == SPOT else 500
        if value in known:
            return value
        if self.venue == SPOT:
            raise refusals.illegal_characters("limit", ", ".join(map(str, known)))
        raise refusals.RefusalError(400, -4021, f"'{value}' is not valid depth limit.")

    def text(self, name: str) -> str:
        """Return a parameter as sent, empty where it was not."""
        self._read.add(name)
        return self._query.get(name, "")

    def check_all_read(self) -> None:
        """Refuse a parameter that the endpoint does not know, as spot does."""
        unknown = [name for name in self._query if name not in self._read]
        if unknown and self.venue == SPOT:
            raise refusals.unread(len(self._query) - len(unknown), len(self._query))

    def listing_named(self, symbol: str) -> Listing:
        """Return the listing of a symbol that trades or traded by now."""
        listing = self._market.listings(self.venue).get(symbol)
        if listing is None or listing.listed_ms > self.now_ms:
            raise refusals.invalid_symbol()
        return listing

    def _listing(self, name: str) -> Listing:
        symbol = self.text(name)
        if not re.fullmatch(r"[A-Z0-9._-]{1,20}", symbol):
            raise refusals.illegal_characters(name, _SYMBOL)
        return self.listing_named(symbol)
