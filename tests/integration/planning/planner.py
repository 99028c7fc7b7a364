"""A ledger with markets and what it knows of them, and plans made from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg

from marketlake.datasets import dataset_named
from marketlake.instants import Window, parse_instant
from marketlake.landing import LandingArea
from marketlake.ledger import (
    Fact,
    LoadRecord,
    Run,
    create_run,
    facts_of_answer,
    record_load,
    store_instruments,
)
from marketlake.planning.plan import Plan, plan_run, save_plan
from marketlake.settings import Settings
from marketlake.work import Answer, FetchTask, Instrument, Market

BTC = ("ohlcv", "binance", "BTC/USDT", "1h")
SPOT = Market("spot", "BTC/USDT", "BTCUSDT")
HOUR = timedelta(hours=1)
LISTED = [
    Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT"),
    Instrument("binance", "ETH/USDT", "ETHUSDT", "spot", "ETH", "USDT"),
    Instrument(
        "binance", "NEW/USDT", "NEWUSDT", "spot", "NEW", "USDT", listed_at=parse_instant("2025-01-15T10:30:00Z")
    ),
    Instrument(
        "binance", "OLD/USDT", "OLDUSDT", "spot", "OLD", "USDT", delisted_at=parse_instant("2025-01-10T12:00:00Z")
    ),
    Instrument("binance", "BTC/USDT:USDT", "BTCUSDT", "perpetual", "BTC", "USDT", "USDT"),
    Instrument("binance", "ETH/USDT:USDT", "ETHUSDT", "perpetual", "ETH", "USDT", "USDT"),
]
NOW = parse_instant("2025-03-10T12:30:00Z")


class Planner:
    """Plans runs over one ledger and records what they would have brought."""

    def __init__(self, connection: psycopg.Connection, settings: Settings) -> None:
        self.connection = connection
        self.settings = settings
        self.loads = 0
        self.runs = 0
        store_instruments(connection, "binance", LISTED, NOW)

    def save(self, plan: Plan) -> None:
        save_plan(self.connection, plan, kept_in=LandingArea(self.settings.lake_root))

    def run(self, window: Window | None, *, now: str = "", mode: str = "incremental") -> Run:
        self.runs += 1
        at = parse_instant(now) if now else NOW
        return create_run(self.connection, Run(f"cli__{self.runs}", "cli", window, mode, {}, at))

    def plan(self, window: tuple[str, str] | None, *, now: str = "", **request: Any) -> Plan:
        run = self.run(span(*window) if window else None, now=now, mode=request.get("mode", "incremental"))
        plain: dict[str, Any] = {"datasets": ["ohlcv"], "symbols": ["BTC/USDT"], "timeframes": ["1h"]}
        return plan_run(self.connection, run, settings=self.settings, **(plain | request))

    def bring(
        self,
        *answered: tuple[str, str],
        over: tuple[str, str] | None = None,
        source: str = "rest",
        now: str = "",
        timeframe: str = "1h",
    ) -> None:
        """Record a load whose answer over a window had rows in the answered ranges."""
        window = span(*(over or answered[0]))
        at = parse_instant(now) if now else NOW
        facts = facts_of_answer(
            Answer("t", SPOT, timeframe, source, window, "answered", at),
            [span(*bounds) for bounds in answered],
            [],
            exchange="binance",
            dataset=dataset_named("ohlcv"),
            now=at,
        )
        self.record(*facts)

    def record(self, *facts: Fact, **changes: Any) -> None:
        self.loads += 1
        record = LoadRecord(f"l{self.loads}", "bronze.ohlcv", "ohlcv", "binance", None, "r", facts=tuple(facts))
        record_load(self.connection, replace(record, **changes))


def span(start: str, end: str) -> Window:
    return Window(parse_instant(start), parse_instant(end))


def brief(tasks: tuple[FetchTask, ...]) -> list[tuple[str, str, str, str]]:
    """Tasks as (source, start, end, reason), instants as short as they read well."""
    return [(task.source, short(task.window.start), short(task.window.end), task.reason) for task in tasks]


def short(instant: Any) -> str:
    return str(instant.strftime("%m-%d" if instant.hour == instant.minute == 0 else "%m-%d %H:%M"))
