"""The load ledger: verdicts after the audit, then everything that one load did, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from marketlake.errors import UsageError
from marketlake.instants import Window
from marketlake.landing.area import LandingArea
from marketlake.ledger.agreements import Agreement, record_agreements
from marketlake.ledger.archive_files import LoadedArchive, record_loaded_archives
from marketlake.ledger.coverage import apply_facts
from marketlake.ledger.entries import keep_entry
from marketlake.ledger.facts import Fact
from marketlake.work import hash_id

_COUNTS = (
    "typed_rows",
    "collapsed_rows",
    "appended_rows",
    "agreed_rows",
    "retracted_rows",
    "rejected_rows",
    "flagged_rows",
)
_COLUMNS = (
    "load_id",
    "step",
    "table_name",
    "dataset",
    "exchange",
    "manifest_id",
    "files_id",
    "run_id",
    "kind",
    *_COUNTS,
    "delta_version",
    "known_at",
    "seconds",
    "details",
)


@dataclass(frozen=True)
class MarketVerdict:
    """What the audit found of one market, over all timeframes of a load; `reasons` counts rejected rows."""

    exchange: str
    symbol: str
    received_rows: int
    rejected_rows: int
    is_refused: bool = False
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def rejected_share(self) -> float:
        """Rejected over received rows, a fraction; 0 where none came."""
        return self.rejected_rows / self.received_rows if self.received_rows else 0.0


@dataclass(frozen=True)
class Disagreement:
    """One field of one key on which two sources differ; values are exact text, `chosen_source` is current."""

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    key_at: datetime
    field: str
    source: str
    value: str
    other_source: str
    other_value: str
    chosen_source: str


@dataclass(frozen=True)
class Change:
    """A range whose current rows or day counts changed and have to be published."""

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    window: Window


@dataclass(frozen=True)
class LoadRecord:
    """One load of one manifest. Counts are rows; `files_id` is `files_id_of` its sha256 digests.

    `manifest_state` is `loaded`, or `refused` where at least one market was refused.
    """

    load_id: str
    table: str
    dataset: str
    exchange: str
    manifest_id: str | None
    run_id: str
    kind: str = "load"
    files_id: str | None = None
    typed_rows: int = 0
    collapsed_rows: int = 0
    appended_rows: int = 0
    agreed_rows: int = 0
    retracted_rows: int = 0
    rejected_rows: int = 0
    flagged_rows: int = 0
    delta_version: int | None = None
    known_at: datetime | None = None
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    changes: tuple[Change, ...] = ()
    archives: tuple[LoadedArchive, ...] = ()
    manifest_state: str = "loaded"
    error: str | None = None


@dataclass(frozen=True)
class LoadRow:
    """One row of `ops.loads`."""

    load_id: str
    step: str
    table_name: str
    dataset: str
    exchange: str
    manifest_id: str | None
    files_id: str | None
    run_id: str
    kind: str
    typed_rows: int
    collapsed_rows: int
    appended_rows: int
    agreed_rows: int
    retracted_rows: int
    rejected_rows: int
    flagged_rows: int
    delta_version: int | None
    known_at: datetime | None
    seconds: float
    details: dict[str, Any]
    recorded_at: datetime


def files_id_of(digests: Sequence[str], manifest_id: str) -> str:
    """Return what identifies a manifest's bytes: a hash of its sorted sha256 digests, or its id where it has none."""
    return hash_id(*sorted(digests)) if digests else manifest_id


def next_kind(connection: psycopg.Connection, table: str, files_id: str, kind: str) -> str:
    """Return `load` for the plain kind, else `<kind>:n`, n counting the recorded loads of that kind and those files."""
    if kind == "load":
        return kind
    row = connection.execute(
        "select count(*) from ops.loads"
        " where step = 'loaded' and table_name = %s and files_id = %s and split_part(kind, ':', 1) = %s",
        [table, files_id, kind],
    ).fetchone()
    return f"{kind}:{(row[0] if row else 0) + 1}"


def load_named(connection: psycopg.Connection, load_id: str, step: str) -> LoadRow | None:
    """Return the load's row of this step (`audited`, `loaded`, `published`), or None."""
    found = _load_rows(connection, "where load_id = %s and step = %s", [load_id, step])
    return found[0] if found else None


def has_unfinished_load(connection: psycopg.Connection, manifest_id: str, *, except_load: str) -> bool:
    """Return whether another load of the manifest was audited and never recorded as loaded: it may have committed."""
    row = connection.execute(
        "select exists (select 1 from ops.loads as audited where step = 'audited' and manifest_id = %s"
        " and load_id <> %s and not exists (select 1 from ops.loads as done"
        " where done.load_id = audited.load_id and done.step = 'loaded'))",
        [manifest_id, except_load],
    ).fetchone()
    return bool(row and row[0])


def loads_of(connection: psycopg.Connection, run_id: str) -> list[LoadRow]:
    """Return the loads that the run recorded, with their steps, in order."""
    return _load_rows(connection, "where run_id = %s order by recorded_at, load_id, step", [run_id])


def loads_of_manifests(connection: psycopg.Connection, manifest_ids: Sequence[str]) -> list[LoadRow]:
    """Return the loads of these manifests, with their steps, in order."""
    where = "where manifest_id = any(%s) order by recorded_at, load_id, step"
    return _load_rows(connection, where, [list(manifest_ids)])


def record_audit(
    connection: psycopg.Connection,
    load: LoadRecord,
    verdicts: Sequence[MarketVerdict],
    *,
    kept_in: LandingArea | None = None,
) -> None:
    """Record that the load's typed rows were judged, with the verdict of each market; a repeat replaces it.

    `kept_in` gets the entry from which the ledger can be rebuilt; None is for the rebuild itself.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("delete from ops.loads where load_id = %s and step = 'audited'", [load.load_id])
        cursor.execute("delete from ops.market_verdicts where load_id = %s", [load.load_id])
        _insert_load(cursor, load, "audited")
        cursor.executemany(
            "insert into ops.market_verdicts"
            " (load_id, exchange, symbol, received_rows, rejected_rows, rejected_share, is_refused, reasons)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    load.load_id,
                    verdict.exchange,
                    verdict.symbol,
                    verdict.received_rows,
                    verdict.rejected_rows,
                    verdict.rejected_share,
                    verdict.is_refused,
                    Jsonb(verdict.reasons),
                )
                for verdict in verdicts
            ],
        )
        _keep(cursor, kept_in, "audited", load, verdicts=list(verdicts))


def verdicts_of(connection: psycopg.Connection, load_id: str) -> list[MarketVerdict]:
    """Return the audit's verdicts of a load, by market."""
    with connection.cursor(row_factory=class_row(MarketVerdict)) as cursor:
        return cursor.execute(
            "select exchange, symbol, received_rows, rejected_rows, is_refused, reasons from ops.market_verdicts"
            " where load_id = %s order by exchange, symbol",
            [load_id],
        ).fetchall()


def record_load(connection: psycopg.Connection, load: LoadRecord, *, kept_in: LandingArea | None = None) -> bool:
    """Record a committed load and all that follows from it, in one transaction; return False if it was recorded before.

    Row of the load, facts and tiles, high watermarks, agreements, disagreements, changes, archives, state of the
    manifest: all or nothing. The repeat of a load id changes nothing. `kept_in` as with `record_audit`.

    Raises:
        UsageError: the manifest is not registered.
    """
    with connection.transaction(), connection.cursor() as cursor:
        if not _insert_load(cursor, load, "loaded"):
            return False
        apply_facts(cursor, load.facts, run_id=load.run_id, load_id=load.load_id)
        record_agreements(cursor, load.agreements)
        _insert_disagreements(cursor, load)
        cursor.executemany(
            "insert into ops.changes (load_id, run_id, dataset, exchange, symbol, timeframe, range_start, range_end)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (load.load_id, load.run_id, *_market(change), change.window.start, change.window.end)
                for change in load.changes
            ],
        )
        record_loaded_archives(cursor, load.exchange, load.archives, load_id=load.load_id)
        if load.manifest_id is not None:
            _judge_manifest(cursor, load)
        _keep(cursor, kept_in, "loaded", load)
    return True


def _keep(cursor: psycopg.Cursor[Any], area: LandingArea | None, kind: str, load: LoadRecord, **more: Any) -> None:
    where = {"exchange": load.exchange, "dataset": load.dataset, "run_id": load.run_id}
    keep_entry(cursor, area, kind, **where, name=load.load_id, load=load, **more)


def _insert_load(cursor: psycopg.Cursor[Any], load: LoadRecord, step: str) -> bool:
    values = {column: getattr(load, column, None) for column in _COLUMNS}
    values |= {"step": step, "table_name": load.table, "details": Jsonb(load.details)}
    names = ", ".join(_COLUMNS)
    places = ", ".join(f"%({column})s" for column in _COLUMNS)
    cursor.execute(f"insert into ops.loads ({names}) values ({places}) on conflict do nothing", values)
    return cursor.rowcount == 1


def _insert_disagreements(cursor: psycopg.Cursor[Any], load: LoadRecord) -> None:
    cursor.executemany(
        "insert into ops.source_disagreements"
        " (dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value,"
        " chosen_source, load_id, found_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, coalesce(%s, clock_timestamp()))"
        " on conflict do nothing",
        [
            (
                *_market(item),
                item.key_at,
                item.field,
                item.source,
                item.value,
                item.other_source,
                item.other_value,
                item.chosen_source,
                load.load_id,
                load.known_at,
            )
            for item in load.disagreements
        ],
    )


def _judge_manifest(cursor: psycopg.Cursor[Any], load: LoadRecord) -> None:
    cursor.execute(
        "update ops.manifests set state = %s, load_id = %s, error = %s, judged_at = clock_timestamp()"
        " where manifest_id = %s",
        [load.manifest_state, load.load_id, load.error, load.manifest_id],
    )
    if cursor.rowcount == 0:
        raise UsageError(f"no manifest {load.manifest_id} is registered; register_manifest comes before record_load")


def _market(item: Disagreement | Change) -> tuple[str, str, str, str]:
    return item.dataset, item.exchange, item.symbol, item.timeframe


def _load_rows(connection: psycopg.Connection, where: str, parameters: Sequence[object]) -> list[LoadRow]:
    query = f"select {', '.join(_COLUMNS)}, recorded_at from ops.loads {where}"
    with connection.cursor(row_factory=class_row(LoadRow)) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()
