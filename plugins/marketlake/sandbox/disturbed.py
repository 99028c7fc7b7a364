"""A market seen through the faults that are on: rows go missing or change, files break, symbols die."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from marketlake.sandbox import archives
from marketlake.sandbox.fault_kinds import ARCHIVE, REST
from marketlake.sandbox.faults import Call, Fault, Faults
from marketlake.sandbox.intervals import LENGTHS, next_open, open_of
from marketlake.sandbox.listings import SPOT, UM, Listing
from marketlake.sandbox.market import ArchivePath, Ask, KlineRow, Market, Record
from marketlake.sandbox.rows import FILES, FUNDING_REST, KLINES, TRADES_REST, Layout, change_rows
from marketlake.sandbox.shelf import Shelf

_IN_FILES = (
    "gaps",
    "restated_candle",
    "archive_reissued",
    "duplicates",
    "disorder",
    "unreadable_number",
    "unit_switch",
    "delisting",
    "funding_interval_change",
)


class DisturbedMarket:
    """The same protocol as the market below it; without a fault every answer is the market's own."""

    def __init__(self, market: Market, faults: Faults) -> None:
        self.market = market
        self.faults = faults
        self._shelf = Shelf(market.archive)

    @property
    def name(self) -> str:
        """Which market feeds a lake that reads it."""
        return self.market.name

    def listings(self, venue: str) -> Mapping[str, Listing]:
        """Return the symbols of `spot` or `um`."""
        return self.market.listings(venue)

    def exchange_info(self, venue: str, now_ms: int) -> Record:
        """Return the body of exchangeInfo; a delisted symbol stays in it with another status."""
        info = self.market.exchange_info(venue, now_ms)
        dead = "BREAK" if venue == SPOT else "SETTLING"
        gone = [fault for fault in self.faults.active("delisting") if fault.values["at"] <= now_ms]
        if not gone:
            return info

        def is_gone(symbol: str) -> bool:
            call = Call(REST, venue, "exchangeInfo", "", symbol)
            return any(fault.fits(call) for fault in gone)

        return info | {
            "symbols": [one | {"status": dead} if is_gone(one["symbol"]) else one for one in info["symbols"]]
        }

    def klines(self, listing: Listing, interval: str, ask: Ask) -> list[KlineRow]:
        """Return a page of candles as the faults leave it."""
        call = self._call(REST, listing, "klines", interval, ask)
        ask = self._until_delisting(call, ask)
        if self._is_silent(call):
            return []
        rows = self._page(call, KLINES, ask, lambda one: self.market.klines(listing, interval, one))
        if ask.start_ms is not None:
            for fault in self._taken("page_overlap", call):
                first = open_of(interval, ask.start_ms)
                since = next_open(interval, first, -fault.values["rows"])
                rows = self.market.klines(listing, interval, replace(ask, start_ms=since, end_ms=first - 1)) + rows
        if self._taken("open_candle", call):
            newest = self.market.klines(listing, interval, Ask(ask.now_ms, limit=1))
            rows = rows + [row for row in newest if not rows or row[0] > rows[-1][0]]
        return self._order(call, KLINES, rows)

    def funding(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of funding events as the faults leave it."""
        call = self._call(REST, listing, "fundingRate", None, ask)
        ask = self._until_delisting(call, ask)
        if self._is_silent(call):
            return []
        rows = self._page(call, FUNDING_REST, ask, lambda one: self._events(listing, call, one))
        if ask.start_ms is not None:
            for fault in self._taken("page_overlap", call):
                before = replace(ask, start_ms=None, end_ms=ask.start_ms - 1, limit=fault.values["rows"])
                rows = self._events(listing, call, before) + rows
        return self._order(call, FUNDING_REST, rows)

    def agg_trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of aggregate trades as the faults leave it."""
        call = self._call(REST, listing, "aggTrades", None, ask)
        ask = self._until_delisting(call, ask)
        if self._is_silent(call):
            return []
        rows = self._page(call, TRADES_REST, ask, lambda one: self.market.agg_trades(listing, one))
        for fault in self._taken("page_overlap", call) if rows else ():
            since = max(0, rows[0]["a"] - fault.values["rows"])
            before = Ask(ask.now_ms, limit=rows[0]["a"] - since, from_id=since)
            rows = (self.market.agg_trades(listing, before) if before.limit else []) + rows
        return self._order(call, TRADES_REST, rows)

    def trades(self, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of trades."""
        call = self._call(REST, listing, "trades", None, ask)
        return [] if self._is_silent(call) else self.market.trades(listing, self._until_delisting(call, ask))

    def depth(self, listing: Listing, limit: int, now_ms: int) -> Record:
        """Return the order book."""
        return self.market.depth(listing, limit, now_ms)

    def premium_index(self, listing: Listing, now_ms: int) -> Record:
        """Return mark price, index price and the running funding rate."""
        return self.market.premium_index(listing, now_ms)

    def archive(self, path: ArchivePath) -> bytes | None:
        """Return the zip of a closed period as the faults leave it."""
        return self._archive(path, Fault.take)

    def archive_rows(self, path: ArchivePath) -> tuple[str, list[list[str]]] | None:
        """Return header and rows of the file without faults."""
        return self.market.archive_rows(path)

    def checksum(self, path: ArchivePath, archive: bytes) -> bytes:
        """Return the CHECKSUM line of the archive as the faults leave it, or of another where they make it wrong."""
        call = file_call(path)
        if self._taken("wrong_checksum", call):
            return f"{'0' * 64}  {path.name}\n".encode()
        now = self._archive(path, lambda fault, call: _shows_in_checksum(fault))
        if now is None or now == archive:
            return self.market.checksum(path, archive)
        return archives.checksum_line(path, now)

    def pristine_archive(self, path: ArchivePath) -> bytes | None:
        """Return the zip of a closed period without faults."""
        return self._shelf.archive(path)

    def _archive(self, path: ArchivePath, hits: Callable[[Fault, Call], bool]) -> bytes | None:
        call = file_call(path)
        content = self._shelf.archive(path)
        if content is None:
            return None
        faults = [fault for fault in self.faults.fitting(call, _IN_FILES) if hits(fault, call)]
        if faults:
            found = self.market.archive_rows(path)
            assert found is not None
            content = self._rebuilt(path, call, found, faults)
        if content is not None:
            for fault in self.faults.fitting(call, ("damaged_zip",)):
                if hits(fault, call):
                    content = content[: int(len(content) * fault.values["keep_pct"] / 100)]
        return content

    def _rebuilt(
        self, path: ArchivePath, call: Call, found: tuple[str, list[list[str]]], faults: list[Fault]
    ) -> bytes | None:
        header, rows = found
        layout = FILES.get(path.dataset)
        if layout is None:
            return self._shelf.archive(path)
        for fault in faults:
            if fault.name == "delisting":
                rows = [row for row in rows if layout.instant_ms(row) < fault.values["at"]]
            elif fault.name == "funding_interval_change":
                rows = self._changed_events(path, call, fault) if path.dataset == "fundingRate" else rows
            else:
                rows = change_rows(fault, call, layout, rows)
        return archives.zipped(path, archives.csv_of_rows(header, rows)) if rows else None

    def _changed_events(self, path: ArchivePath, call: Call, fault: Fault) -> list[list[str]]:
        listing = self.market.listings(UM)[path.symbol]
        ask = Ask(path.end_ms, path.start_ms, path.end_ms - 1, 1000)
        hours = listing.funding_interval_hours
        return [
            [
                str(event["fundingTime"]),
                str(fault.values["hours"] if event["fundingTime"] >= fault.values["at"] else hours),
                event["fundingRate"],
            ]
            for event in self._events(listing, call, ask)
        ]

    def _events(self, listing: Listing, call: Call, ask: Ask) -> list[Record]:
        """The market's funding events, at another interval from the instant of a change on."""
        changes = self.faults.fitting(replace(call, source=REST), ("funding_interval_change",))
        if not changes:
            return self.market.funding(listing, ask)
        change = changes[-1]
        at, last = change.values["at"], ask.now_ms if ask.end_ms is None else min(ask.now_ms, ask.end_ms)
        changed = replace(listing, funding_interval_hours=change.values["hours"])
        before = self.market.funding(listing, replace(ask, end_ms=min(last, at - 1)))
        since = at if ask.start_ms is None else max(at, ask.start_ms)
        events = before + (
            self.market.funding(changed, replace(ask, start_ms=since, end_ms=last)) if last >= at else []
        )
        return events[-ask.limit :] if ask.start_ms is None else events[: ask.limit]

    def _page(self, call: Call, layout: Layout, ask: Ask, read: Callable[[Ask], list[Any]]) -> list[Any]:
        """A page without the rows that are missing: like the exchange, it goes on behind a gap until it is full."""
        missing = self._taken("gaps", call)
        rows: list[Any] = []
        left = ask
        while True:
            batch = read(left)
            rows += [row for row in batch if not any(one.selects(call, layout.instant_ms(row)) for one in missing)]
            if len(rows) == ask.limit or len(batch) < left.limit or (ask.start_ms is None and ask.from_id is None):
                break
            left = replace(_behind(layout, left, batch[-1]), limit=ask.limit - len(rows))
        for fault in self._taken("restated_candle", call):
            rows = change_rows(fault, call, layout, rows)
        return rows

    def _order(self, call: Call, layout: Layout, rows: list[Any]) -> list[Any]:
        for name in ("unreadable_number", "duplicates", "disorder"):
            for fault in self._taken(name, call):
                rows = change_rows(fault, call, layout, rows)
        return rows

    def _is_silent(self, call: Call) -> bool:
        return bool(self._taken("silence", call))

    def _taken(self, name: str, call: Call) -> list[Fault]:
        return [fault for fault in self.faults.active(name) if fault.take(call)]

    def _until_delisting(self, call: Call, ask: Ask) -> Ask:
        for fault in self.faults.fitting(call, ("delisting",)):
            last = fault.values["at"] - 1
            ask = replace(ask, end_ms=last if ask.end_ms is None else min(ask.end_ms, last))
        return ask

    def _call(self, source: str, listing: Listing, endpoint: str, interval: str | None, ask: Ask) -> Call:
        end = min(ask.now_ms, ask.end_ms if ask.end_ms is not None else ask.now_ms) + 1
        if ask.start_ms is not None and interval in LENGTHS:
            end = min(end, ask.start_ms + ask.limit * LENGTHS[interval])
        root = "/api/v3/" if listing.venue == SPOT else "/fapi/v1/"
        return Call(source, listing.venue, endpoint, root + endpoint, listing.symbol, interval, ask.start_ms or 0, end)


def _behind(layout: Layout, ask: Ask, row: Any) -> Ask:
    """What asks for the rows after this one; trades go by their numbers, because an instant may have several."""
    if layout is TRADES_REST:
        return replace(ask, from_id=row["a"] + 1, start_ms=None)
    return replace(ask, start_ms=layout.instant_ms(row) + 1)


def file_call(path: ArchivePath) -> Call:
    """Return what a request for an archive or its CHECKSUM is about."""
    return Call(
        ARCHIVE, path.venue, path.dataset, "/" + path.path, path.symbol, path.timeframe, path.start_ms, path.end_ms
    )


def _shows_in_checksum(fault: Fault) -> bool:
    """Whether the CHECKSUM file was made from the changed file, as when the exchange itself publishes it."""
    return fault.values.get("checksum") != "original"
