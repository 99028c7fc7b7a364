"""Entries told again: each becomes the rows that it became the first time, in the same order, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from marketlake.datasets import dataset_named
from marketlake.errors import DataError
from marketlake.exchanges.registry import exchange_named
from marketlake.landing import LandingArea
from marketlake.ledger import (
    ArchiveFile,
    Entry,
    Fact,
    LoadRecord,
    MarketVerdict,
    apply_facts,
    archive_file,
    record_archive,
    record_audit,
    record_failure,
    record_load,
    register_manifest,
    registered_manifest,
    reset_watermark,
    typed,
)
from marketlake.recovery.undo import undo_loads
from marketlake.work import Answer, LandedFile, Manifest

REBUILD = "rebuild"


@dataclass
class Replay:
    """Tells an empty ledger what the entries say. `manifests` are the readable ones of the landing area, by id."""

    connection: psycopg.Connection
    area: LandingArea
    manifests: Mapping[str, tuple[Manifest, Path]]
    loads: dict[str, LoadRecord] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    _landed: set[str] = field(default_factory=set)

    def tell(self, entry: Entry) -> None:
        """Tell the ledger one entry; call it in the order of the entries."""
        before = self._newest_ids()
        tellers: dict[str, Callable[[Entry], None]] = {
            "audited": self._audited,
            "loaded": self._loaded,
            "failed": self._failed,
            "planned": self._planned,
            "reset": self._reset,
            "restored": self._restored,
        }
        if entry.kind not in tellers:
            raise DataError(f"an entry of {entry.exchange} {entry.dataset} is of the unknown kind {entry.kind!r}")
        tellers[entry.kind](entry)
        self._stamp(before, entry.recorded_at)

    def register_rest(self) -> None:
        """Let the manifests that no entry judges wait for their load."""
        for manifest_id in self.manifests:
            self._land(manifest_id)

    def _audited(self, entry: Entry) -> None:
        load = typed(LoadRecord, entry.body["load"])
        self._land(load.manifest_id, entry)
        verdicts = [typed(MarketVerdict, item) for item in entry.body["verdicts"]]
        record_audit(self.connection, load, verdicts)
        self._stamp_load(load.load_id, "audited", entry.recorded_at)

    def _loaded(self, entry: Entry) -> None:
        load = typed(LoadRecord, entry.body["load"])
        self._land(load.manifest_id, entry)
        record_load(self.connection, load)
        self._stamp_load(load.load_id, "loaded", entry.recorded_at)
        self.loads[load.load_id] = load

    def _failed(self, entry: Entry) -> None:
        manifest_id, state, error = (str(entry.body[name]) for name in ("manifest_id", "state", "error"))
        self._land(manifest_id, entry)
        record_failure(self.connection, manifest_id, error, state=state, facts=_facts(entry))

    def _planned(self, entry: Entry) -> None:
        with self.connection.cursor() as cursor:
            apply_facts(cursor, _facts(entry), run_id=entry.run_id)

    def _reset(self, entry: Entry) -> None:
        facts = _facts(entry)
        with self.connection.cursor() as cursor:
            apply_facts(cursor, facts, run_id=entry.run_id)
        for market in sorted({fact.market for fact in facts}):
            reset_watermark(self.connection, *market)

    def _restored(self, entry: Entry) -> None:
        lost = {str(load_id) for load_id in entry.body["lost"]}
        self.undo(entry.dataset, lost, incarnation=int(entry.body["incarnation"]), run_id=entry.run_id)

    def undo(self, dataset: str, lost: set[str], *, incarnation: int, run_id: str) -> None:
        """Undo these loads, as a restore does."""
        believed = {load_id: load for load_id, load in self.loads.items() if load_id not in self.lost}
        undo_loads(self.connection, dataset_named(dataset), lost, incarnation=incarnation, told=believed, run_id=run_id)
        self.lost |= lost

    def _land(self, manifest_id: str | None, entry: Entry | None = None) -> None:
        """Register the manifest and its archives, once."""
        if manifest_id is None or manifest_id in self._landed:
            return
        self._landed.add(manifest_id)
        if manifest_id in self.manifests:
            manifest, path = self.manifests[manifest_id]
            register_manifest(self.connection, manifest, path)
            self._record_archives(manifest)
        elif entry is not None and registered_manifest(self.connection, manifest_id) is None:
            self._register_lost(manifest_id, entry)

    def _register_lost(self, manifest_id: str, entry: Entry) -> None:
        """Register a manifest whose file is gone or damaged, by what its entry says of it."""
        path = self.area.folder / entry.exchange / entry.dataset / "manifests" / f"{entry.run_id}.json"
        self.connection.execute(
            "insert into ops.manifests (manifest_id, run_id, exchange, dataset, kind, path, now_at, sealed_at, answers)"
            " values (%s, %s, %s, %s, 'load', %s, %s, %s, '[]')",
            [manifest_id, entry.run_id, entry.exchange, entry.dataset, str(path), entry.recorded_at, entry.recorded_at],
        )

    def _record_archives(self, manifest: Manifest) -> None:
        layout = exchange_named(manifest.exchange).archives
        for answer in manifest.answers:
            if answer.source != "archive" or layout is None:
                continue
            for file in answer.files:
                period = layout.window(file.source_ref)
                known = archive_file(self.connection, manifest.exchange, file.source_ref)
                is_other = known is not None and known.loaded_sha256 not in (None, file.sha256)
                verified = "verified" if file.checksum_status == "verified" else "unverified"
                status = "superseded" if is_other else verified
                record = _archive(manifest, answer, file, status, (period.start, period.end))
                record_archive(self.connection, record)

    def _newest_ids(self) -> tuple[int, int]:
        row = self.connection.execute(
            "select coalesce((select max(fact_id) from ops.coverage_facts), 0),"
            " coalesce((select max(id) from ops.data_quality_logs), 0)"
        ).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def _stamp(self, before: tuple[int, int], at: datetime) -> None:
        """Give what was just recorded the instant at which it was recorded first."""
        self.connection.execute("update ops.coverage_facts set recorded_at = %s where fact_id > %s", [at, before[0]])
        self.connection.execute("update ops.data_quality_logs set created_at = %s where id > %s", [at, before[1]])

    def _stamp_load(self, load_id: str, step: str, at: datetime) -> None:
        self.connection.execute(
            "update ops.loads set recorded_at = %s where load_id = %s and step = %s", [at, load_id, step]
        )


def _facts(entry: Entry) -> list[Fact]:
    return [typed(Fact, item) for item in entry.body["facts"]]


def _archive(
    manifest: Manifest, answer: Answer, file: LandedFile, status: str, period: tuple[datetime, datetime]
) -> ArchiveFile:
    what: dict[str, Any] = {
        "exchange": manifest.exchange,
        "path": file.source_ref,
        "dataset": manifest.dataset,
        "symbol": answer.market.symbol,
        "exchange_symbol": answer.market.exchange_symbol,
        "timeframe": answer.timeframe,
        "bytes": file.bytes,
        "computed_sha256": file.sha256,
        "checked_at": file.received_at,
    }
    published = file.sha256 if file.checksum_status == "verified" else None
    return ArchiveFile(**what, status=status, published_sha256=published, period_start=period[0], period_end=period[1])
