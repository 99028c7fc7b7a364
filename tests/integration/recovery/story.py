"""A lake with a short story: hours of one market in two loads, a hole, a refusal, sources at odds; no Spark."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from marketlake import ledger
from marketlake.datasets import OHLCV
from marketlake.instants import Window, parse_instant
from marketlake.landing import LandingArea
from marketlake.ledger import Agreement, Change, Disagreement, Fact, LoadRecord, MarketVerdict
from marketlake.settings import Settings
from marketlake.work import Manifest
from tests.lakes import commit, minutes
from tests.landed import BTC, ETH, Landing, kline

HOUR = timedelta(hours=1)
START = parse_instant("2025-03-01")
MARKET = ("ohlcv", "binance", "BTC/USDT", "1h")


def hours(first: int, last: int) -> Window:
    """The hours from one to another after the story's start."""
    return Window(START + first * HOUR, START + last * HOUR)


@dataclass
class Story:
    """A lake and its ledger; each call adds what a real step would have added, entries included."""

    connection: psycopg.Connection
    settings: Settings
    loads: int = 0
    landing: Landing = field(init=False)

    def __post_init__(self) -> None:
        self.root = Path(self.settings.lake_root)
        self.landing = Landing(self.root)
        ledger.claim_market(self.connection, "recorded")

    @property
    def area(self) -> LandingArea:
        return LandingArea(self.root)

    def sealed(self, window: Window, *, market: Any = BTC) -> Manifest:
        """Land an answer over the window, seal and register its manifest."""
        self.landing.rest([kline(window.start)], window, market=market)
        manifest = self.landing.seal(f"r{self.landing.sealed + 1}")
        ledger.register_manifest(self.connection, manifest, self.landing.path)
        return manifest

    def load(self, window: Window, *, rows: int | None = None, known_at: datetime | None = None, **more: Any) -> str:
        """Load the window's hours; with no rows they only agree. Return the load's id."""
        self.loads += 1
        manifest = self.sealed(window)
        load_id, known_at = f"l{self.loads}", known_at or START + timedelta(days=30, minutes=self.loads)
        count = window.length // HOUR if rows is None else rows
        version = None
        if count:
            stamps = {"load_id": load_id, "known_at": known_at, "timeframe": "1h", "digest": f"v1:{self.loads:064x}"}
            commit(self.root, minutes(window.start, count, step=HOUR, **stamps))
            version = max(int(p.stem) for p in (self.root / "bronze" / "ohlcv" / "_delta_log").glob("*.json"))
        facts = (Fact(*MARKET, window=window, state="present", source="rest"),)
        record = LoadRecord(
            **{"load_id": load_id, "table": OHLCV.table, "dataset": "ohlcv", "exchange": "binance"},
            **{"manifest_id": manifest.manifest_id, "run_id": manifest.run_id, "files_id": f"f{load_id}"},
            **{"appended_rows": count, "typed_rows": count, "delta_version": version, "known_at": known_at},
            **{"facts": facts, "changes": (Change(*MARKET, window),), "details": {"outside_window": 0}, **more},
        )
        verdict = MarketVerdict("binance", "BTC/USDT", 24, 1, reasons={"high < low": 1})
        ledger.record_audit(self.connection, record, [verdict], kept_in=self.area)
        ledger.record_load(self.connection, record, kept_in=self.area)
        return load_id

    def tell(self) -> None:
        """The whole story: two loads with a hole between them, an agreement, a disagreement, a refused manifest."""
        hole = Fact(
            *MARKET, window=hours(10, 12), state="pending", source="rest", cause="omitted",
            attempt_day=START.date(), retry_at=START + timedelta(days=2),
        )  # fmt: skip
        differs = Disagreement(*MARKET, START, "close", "archive", "105", "rest", "105.5", "archive")
        present = Fact(*MARKET, window=hours(0, 10), state="present", source="rest")
        self.load(hours(0, 12), rows=10, facts=(present, hole), disagreements=(differs,))
        self.load(hours(12, 24))
        agreed = Agreement(*MARKET, "rest", hours(12, 20), START + timedelta(days=31))
        self.load(hours(12, 20), rows=0, agreements=(agreed,))
        refused = self.sealed(hours(0, 24), market=ETH)
        fact = Fact("ohlcv", "binance", "ETH/USDT", "1h", hours(0, 24), "failed", "rest", "refused")
        ledger.record_failure(
            self.connection, refused.manifest_id, "columns are missing", state="refused", facts=[fact],
            kept_in=self.area,
        )  # fmt: skip

    def empty(self) -> None:
        """Lose everything that the ledger's Postgres holds."""
        tables = self.connection.execute(
            "select string_agg('ops.' || relname, ', ') from pg_class where relnamespace = 'ops'::regnamespace"
            " and relkind = 'r' and relname <> 'schema_version'"
        ).fetchone()
        assert tables is not None
        self.connection.execute(f"truncate {tables[0]} restart identity cascade".encode())
