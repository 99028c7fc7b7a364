"""A lake's past in the ledger, written day by day as daily runs leave it, without loading a row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from marketlake import ledger
from marketlake.instants import DAY, Window
from marketlake.landing import LandingArea, seal_manifest
from marketlake.ledger import Agreement, Change, Fact, LoadRecord, MarketVerdict, Run
from marketlake.ledger.agreements import record_agreements
from marketlake.ledger.runs import StepTime
from marketlake.pipeline.opening import Opening
from marketlake.pipeline.request import RunRequest
from marketlake.pipeline.run import RunSummary, run_pipeline
from marketlake.settings import Settings
from marketlake.work import Answer, Instrument, Manifest

HOUR = timedelta(hours=1)
# One candle of every so many days is missing for good, so that coverage is more than one long range.
HOLE_EVERY_DAYS = 5


@dataclass(frozen=True)
class Past:
    """The markets of a lake and where their past ends; `market` names what feeds the lake."""

    symbols: int
    end: datetime
    market: str

    @property
    def instruments(self) -> list[Instrument]:
        """The markets as their exchange lists them."""
        names = [f"M{number:02}" for number in range(self.symbols)]
        return [Instrument("binance", f"{name}/USDT", f"{name}USDT", "spot", name, "USDT") for name in names]

    def begin(self, connection: psycopg.Connection, *, now: datetime) -> None:
        """Let the ledger know the markets as of `now`."""
        ledger.claim_market(connection, self.market)
        ledger.store_instruments(connection, "binance", self.instruments, now)

    def write_days(self, connection: psycopg.Connection, settings: Settings, days: range) -> None:
        """Write the past of the days so many days before its end, oldest first; each one run with all that it left."""
        windows = [Window(self.end - DAY * (day + 1), self.end - DAY * day) for day in reversed(days)]
        for window in windows:
            self._write_run(connection, settings, window)
        facts = [fact for window in windows for fact in self._facts(window)]
        load = LoadRecord(f"facts-{days}", "bronze.ohlcv", "ohlcv", "binance", None, "history", facts=tuple(facts))
        ledger.record_load(connection, load)
        with connection.transaction(), connection.cursor() as cursor:
            record_agreements(cursor, [item for window in windows for item in self._agreements(window)])
        connection.execute("update ops.manifests set registered_at = sealed_at where run_id like 'daily__%%'")
        ledger.note_manifests_found(connection, datetime.now(self.end.tzinfo))
        connection.execute("vacuum (analyze)")  # as the server does by itself in time

    def run(self, settings: Settings, window: Window, *, dry_run: bool = False) -> RunSummary:
        """Run all markets over a window, plan to gold; a dry run is its plan."""
        symbols = tuple(item.symbol for item in self.instruments)
        request = RunRequest(("ohlcv",), ("binance",), symbols, ("1h",), dry_run=dry_run)
        outcome = run_pipeline(settings, Opening(request, window.start, window.end), build=True)
        assert outcome.problems == []
        return outcome

    def _write_run(self, connection: psycopg.Connection, settings: Settings, window: Window) -> None:
        now, name = window.end + HOUR, f"daily__{window.start:%Y-%m-%d}"
        request = RunRequest(datasets=("ohlcv",), exchanges=("binance",), timeframes=("1h",))
        ledger.create_run(connection, Run(name, "daily", window, "incremental", request.to_json(), now))
        manifest = self._manifest(name, window, now)
        path = seal_manifest(LandingArea(settings.lake_root), manifest, sealed_at=now)
        os.utime(path, (now.timestamp(), now.timestamp()))
        ledger.register_manifest(connection, manifest, path)
        self._record_archives(connection, window, now)
        rows = 24 * self.symbols
        record = LoadRecord(f"load-{name}", "bronze.ohlcv", "ohlcv", "binance", manifest.manifest_id, name,
                            typed_rows=rows, appended_rows=rows, delta_version=1, known_at=now,
                            changes=tuple(self._changes(window)))  # fmt: skip
        verdicts = [MarketVerdict("binance", item.symbol, 24, 0) for item in self.instruments]
        ledger.record_audit(connection, record, verdicts)
        ledger.record_load(connection, record)
        self._publish(connection, name, window)
        for step in ("plan_fetches", "load_bronze", "publish_changes", "merge_gold"):
            ledger.record_step(connection, name, StepTime(step, 1.0))
        ledger.finish_run(connection, name, "succeeded")

    def _manifest(self, run_id: str, window: Window, now: datetime) -> Manifest:
        answers = tuple(
            Answer(f"{item.symbol} {window}", item.market, "1h", "archive", window, "answered", now)
            for item in self.instruments
        )
        return Manifest(run_id, "binance", "ohlcv", self.market, 0.0, now, answers, sealed_at=now)

    def _record_archives(self, connection: psycopg.Connection, window: Window, now: datetime) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into ops.archive_files (exchange, path, dataset, symbol, exchange_symbol, timeframe,"
                " period_start, period_end, status, loaded_sha256, attempts, checked_at)"
                " values ('binance', %s, 'ohlcv', %s, %s, '1h', %s, %s, 'loaded', 'a', 1, %s)",
                [
                    (_archive(item, window), item.symbol, item.exchange_symbol, window.start, window.end, now)
                    for item in self.instruments
                ],
            )

    def _publish(self, connection: psycopg.Connection, run_id: str, window: Window) -> None:
        changes = [change for change in ledger.changes_unpublished(connection) if change.run_id == run_id]
        with connection.transaction(), connection.cursor() as cursor:
            for change in changes:
                ledger.insert_publication(
                    cursor, dataset="ohlcv", exchange="binance", symbol=change.symbol, timeframe="1h", window=window,
                    rows_written=24, rows_deleted=0, run_id=run_id, change_ids=[change.change_id],
                )  # fmt: skip
        build = ledger.open_build(connection, run_id)
        assert build is not None
        ledger.close_build(connection, build.build_id, "merged")

    def _facts(self, window: Window) -> Iterator[Fact]:
        has_hole = window.start.toordinal() % HOLE_EVERY_DAYS == 0
        hole = Window(window.start + 7 * HOUR, window.start + 8 * HOUR)
        for item in self.instruments:
            market = ("ohlcv", "binance", item.symbol, "1h")
            for piece in window.minus([hole]) if has_hole else [window]:
                yield Fact(*market, piece, "present", "archive")
            if has_hole:
                yield Fact(*market, hole, "unfillable", "archive", "attempts")

    def _agreements(self, window: Window) -> Iterator[Agreement]:
        """The look-back of one candle, of which each day's source said again what it had said."""
        last = Window(window.start, window.start + HOUR)
        for item in self.instruments:
            yield Agreement("ohlcv", "binance", item.symbol, "1h", "rest", last, window.end)

    def _changes(self, window: Window) -> Iterator[Change]:
        for item in self.instruments:
            yield Change("ohlcv", "binance", item.symbol, "1h", window)


def _archive(item: Instrument, window: Window) -> str:
    name = f"{item.exchange_symbol}-1h-{window.start:%Y-%m-%d}.zip"
    return f"data/spot/daily/klines/{item.exchange_symbol}/1h/{name}"
