"""Sealed manifests in the ledger: what waits to be loaded, what was refused and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from marketlake.errors import DataError, UsageError, one_of
from marketlake.instants import Window, format_instant
from marketlake.landing.area import LandingArea
from marketlake.ledger.coverage import apply_facts
from marketlake.ledger.entries import keep_entry
from marketlake.ledger.facts import Fact
from marketlake.work import Manifest

MANIFEST_STATES = ("waiting", "loaded", "refused", "failed", "damaged")
_SELECT = (
    "select manifest_id, run_id, exchange, dataset, kind, path, now_at, sealed_at, state, load_id, error, judged_at"
    " from ops.manifests "
)


@dataclass(frozen=True)
class ManifestRow:
    """One registered manifest; `path` is its file as registered, instants are UTC."""

    manifest_id: str
    run_id: str
    exchange: str
    dataset: str
    kind: str
    path: str
    now_at: datetime
    sealed_at: datetime
    state: str
    load_id: str | None
    error: str | None
    judged_at: datetime | None


def register_manifest(connection: psycopg.Connection, manifest: Manifest, path: str | Path) -> bool:
    """Let the sealed manifest wait for its load; return whether it is new. A repeat changes nothing.

    Raises:
        DataError: the manifest is not sealed.
    """
    if manifest.sealed_at is None:
        raise DataError(f"the manifest of {manifest.run_id} ({manifest.exchange} {manifest.dataset}) is not sealed")
    answers = [
        {
            "symbol": answer.market.symbol,
            "timeframe": answer.timeframe,
            "source": answer.source,
            "start": format_instant(answer.window.start),
            "end": format_instant(answer.window.end),
            "status": answer.status,
        }
        for answer in manifest.answers
    ]
    done = connection.execute(
        "insert into ops.manifests (manifest_id, run_id, exchange, dataset, kind, path, now_at, sealed_at, answers)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (manifest_id) do nothing",
        [
            manifest.manifest_id,
            manifest.run_id,
            manifest.exchange,
            manifest.dataset,
            manifest.kind,
            str(path),
            manifest.now,
            manifest.sealed_at,
            Jsonb(answers),
        ],
    )
    return done.rowcount == 1


def registered_manifest(connection: psycopg.Connection, manifest_id: str) -> ManifestRow | None:
    """Return the manifest of this id, or None."""
    found = _rows(connection, "where manifest_id = %s", [manifest_id])
    return found[0] if found else None


def registered_paths(connection: psycopg.Connection, *, since: datetime | None = None) -> set[str]:
    """Return the paths of manifests as they were registered, of all or of those registered since an instant."""
    rows = connection.execute(
        "select path from ops.manifests where registered_at >= coalesce(%s, '-infinity'::timestamptz)", [since]
    ).fetchall()
    return {path for (path,) in rows}


def manifests_found_until(connection: psycopg.Connection) -> datetime | None:
    """Return the instant of the machine before which every sealed manifest is registered; None where unknown."""
    row = connection.execute("select manifests_found_until from ops.lake").fetchone()
    return row[0] if row else None


def note_manifests_found(connection: psycopg.Connection, until: datetime) -> None:
    """Remember that every manifest sealed before this instant of the machine is registered."""
    connection.execute("update ops.lake set manifests_found_until = greatest(manifests_found_until, %s)", [until])


def manifests_waiting(connection: psycopg.Connection, run_id: str | None = None) -> list[ManifestRow]:
    """Return the manifests that no load has judged yet, of all runs unless one is named; oldest first."""
    return _rows(
        connection,
        "where state = 'waiting' and run_id = coalesce(%s, run_id) order by sealed_at, manifest_id",
        [run_id],
    )


def manifests_refused(
    connection: psycopg.Connection, *, run_id: str | None = None, window: Window | None = None
) -> list[ManifestRow]:
    """Return the manifests that were refused, wholly or in one market, or whose load raised; oldest first.

    Of one run, or of those whose answers overlap a window; of all where neither is given.
    """
    return _rows(
        connection,
        "where state in ('refused', 'failed') and run_id = coalesce(%(run_id)s, run_id)"
        " and (%(start)s::timestamptz is null or exists (select 1 from jsonb_array_elements(answers) as answer"
        " where (answer ->> 'start')::timestamptz < %(end)s and (answer ->> 'end')::timestamptz > %(start)s))"
        " order by sealed_at, manifest_id",
        {"run_id": run_id, "start": window.start if window else None, "end": window.end if window else None},
    )


def manifests_of(connection: psycopg.Connection, run_id: str) -> list[ManifestRow]:
    """Return every manifest that the run sealed, oldest first."""
    return _rows(connection, "where run_id = %s order by sealed_at, manifest_id", [run_id])


def record_failure(
    connection: psycopg.Connection,
    manifest_id: str,
    error: str,
    *,
    state: str = "failed",
    facts: Sequence[Fact] = (),
    kept_in: LandingArea | None = None,
) -> None:
    """Record that a manifest's load raised (`failed`), was refused as a whole, or found `damaged` files.

    `facts` are usually `failed` ones over its answers' windows. A manifest that was loaded meanwhile stays so.
    `kept_in` gets the entry from which the ledger can be rebuilt; None is for the rebuild itself.

    Raises:
        UsageError: the state is none of these, or the manifest is not registered.
    """
    if state not in ("failed", "refused", "damaged"):
        raise UsageError(one_of("state", state, ("failed", "refused", "damaged")))
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            "update ops.manifests set state = %s, error = %s, judged_at = clock_timestamp()"
            " where manifest_id = %s and state <> 'loaded' returning run_id, exchange, dataset",
            [state, error, manifest_id],
        )
        row = cursor.fetchone()
        if row is None:
            cursor.execute("select 1 from ops.manifests where manifest_id = %s", [manifest_id])
            if cursor.fetchone() is None:
                raise UsageError(f"no manifest {manifest_id} is registered; register_manifest comes first")
            return
        run_id, exchange, dataset = row
        apply_facts(cursor, facts, run_id=run_id)
        where = {"exchange": exchange, "dataset": dataset, "run_id": run_id}
        what: dict[str, Any] = {"manifest_id": manifest_id, "state": state, "error": error, "facts": list(facts)}
        keep_entry(cursor, kept_in, "failed", **where, **what)


def wait_again(connection: psycopg.Connection, manifest_ids: Sequence[str]) -> int:
    """Let refused and failed manifests be judged again by the next load; return how many there were."""
    done = connection.execute(
        "update ops.manifests set state = 'waiting', judged_at = null"
        " where manifest_id = any(%s) and state in ('refused', 'failed')",
        [list(manifest_ids)],
    )
    return done.rowcount


def answered_windows(
    connection: psycopg.Connection, dataset: str, exchange: str, *, symbol: str, timeframe: str
) -> list[Window]:
    """Return the windows that waiting manifests hold answers for; nobody needs to fetch them again."""
    rows = connection.execute(
        "select (answer ->> 'start')::timestamptz, (answer ->> 'end')::timestamptz"
        " from ops.manifests cross join lateral jsonb_array_elements(answers) as answer"
        " where state = 'waiting' and dataset = %s and exchange = %s"
        " and answer ->> 'symbol' = %s and answer ->> 'timeframe' = %s and answer ->> 'status' = 'answered'",
        [dataset, exchange, symbol, timeframe],
    ).fetchall()
    return sorted(Window(start, end) for start, end in rows)


def _rows(
    connection: psycopg.Connection, where: str, parameters: Sequence[object] | Mapping[str, object]
) -> list[ManifestRow]:
    with connection.cursor(row_factory=class_row(ManifestRow)) as cursor:
        return cursor.execute(_SELECT + where, parameters).fetchall()
