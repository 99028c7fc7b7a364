"""A lake with a real ledger, an exchange on this machine, and tasks to fetch; what the tests of this folder share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import psycopg
import pyarrow as pa

from marketlake.exchanges.binance import archive_layout
from marketlake.exchanges.registry import exchange_named
from marketlake.fetch import FetchSummary, fetch
from marketlake.instants import Window, parse_instant
from marketlake.landing import LandingArea, read_manifest
from marketlake.ledger.runs import Run, create_run
from marketlake.ledger.tasks import save_tasks
from marketlake.sandbox import Sandbox
from marketlake.settings import Settings, load_settings
from marketlake.work import Answer, FetchTask, Manifest, Market

BTC = Market("spot", "BTC/USDT", "BTCUSDT")
ETH = Market("spot", "ETH/USDT", "ETHUSDT")
BTC_PERPETUAL = Market("perpetual", "BTC/USDT:USDT", "BTCUSDT")
NOW = parse_instant("2025-02-20T12:00:00Z")


def window(start: str, end: str) -> Window:
    return Window(parse_instant(start), parse_instant(end))


def rest_task(
    market: Market = BTC, timeframe: str = "1h", *, over: Window, task_id: str = "", **changes: str
) -> FetchTask:
    dataset = changes.pop("dataset", "ohlcv")
    name = task_id or f"{market.exchange_symbol}-{market.market_type}-{timeframe}-{over.start:%Y%m%d%H}"
    return FetchTask(name, "", "binance", dataset, market, timeframe, "rest", over, **changes)


def archive_task(
    market: Market = BTC, timeframe: str = "1h", *, start: str, period: str = "daily", **changes: object
) -> FetchTask:
    dataset = str(changes.pop("dataset", "ohlcv"))
    path = archive_layout.path(dataset, market, timeframe=timeframe, period=period, start=parse_instant(start))
    name = f"{market.exchange_symbol}-{market.market_type}-{timeframe}-{start}-{period}"
    over = archive_layout.window(path)
    task = FetchTask(name, "", "binance", dataset, market, timeframe, "archive", over, path)
    return replace(task, **changes)  # type: ignore[arg-type]


@dataclass
class World:
    """A lake beside an exchange; `fetch` runs tasks as a run of its own unless it is named."""

    settings: Settings
    connection: psycopg.Connection
    sandbox: Sandbox
    runs: int = field(default=0)

    @property
    def area(self) -> LandingArea:
        return LandingArea(self.settings.lake_root)

    def run(self, tasks: Sequence[FetchTask], run_id: str = "") -> Run:
        self.runs += 1
        run_id = run_id or f"run_{self.runs}"
        offset = self.sandbox.clock.now() - datetime.now(NOW.tzinfo)
        run = create_run(self.connection, Run(run_id, "cli", None, "incremental", {}, self.sandbox.clock.now(), offset))
        save_tasks(self.connection, run_id, [replace(task, run_id=run_id) for task in tasks])
        return run

    def fetch(
        self, tasks: Sequence[FetchTask], *, run_id: str = "", dataset: str = "ohlcv", settings: Settings | None = None
    ) -> FetchSummary:
        run = self.run(tasks, run_id)
        return self.fetch_run(run, dataset=dataset, settings=settings)

    def fetch_run(self, run: Run, *, dataset: str = "ohlcv", settings: Settings | None = None) -> FetchSummary:
        return fetch(self.connection, settings or self.settings, run=run, exchange="binance", dataset=dataset)

    def manifest(self, summary: FetchSummary, place: int = -1) -> Manifest:
        return read_manifest(summary.manifests[place])

    def rows(self, answer: Answer, dataset: str = "ohlcv") -> pa.Table:
        readers = exchange_named("binance").readers
        tables = [
            readers.read_rows(dataset, self.area.absolute(file.path), file=file, answer=answer) for file in answer.files
        ]
        return pa.concat_tables(tables)

    def data_requests(self) -> list[str]:
        return [
            entry.path + ("?" + entry.query if entry.query else "")
            for entry in self.sandbox.requests()
            if not entry.path.endswith(("/time", "/exchangeInfo"))
        ]


def settings_for(sandbox: Sandbox, **changes: str) -> Settings:
    """Settings of the environment, pointed at the sandbox, with pauses short enough for tests."""
    section = {
        "rest_url": sandbox.url,
        "futures_rest_url": sandbox.url,
        "archive_url": sandbox.url,
        "retry_base_seconds": "0.01",
        "request_timeout_seconds": "10",
        **changes,
    }
    environ = {f"MARKETLAKE__EXCHANGES__BINANCE__{key.upper()}": value for key, value in section.items()}
    return load_settings(environ={**os.environ, **environ, "MARKETLAKE__CLOCK__SOURCE": "exchange"})
