"""What was asked of the exchanges' archives and what came of it (ING-15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from marketlake.errors import UsageError, one_of
from marketlake.instants import Window

ARCHIVE_STATES = (
    "pending",
    "downloaded",
    "verified",
    "loaded",
    "absent",
    "unverified",
    "checksum_mismatch",
    "superseded",
)


@dataclass(frozen=True)
class ArchiveFile:
    """One archive as the ledger knows it. `path` is below the archive URL, the period is the file's day or month.

    `checked_at` is when the exchange was last asked for the file or its checksum. Instants are on the
    runs' clocks, UTC.
    """

    exchange: str
    path: str
    dataset: str
    symbol: str
    exchange_symbol: str
    timeframe: str
    period_start: datetime
    period_end: datetime
    status: str
    bytes: int | None = None
    published_sha256: str | None = None
    computed_sha256: str | None = None
    loaded_sha256: str | None = None
    row_count: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    attempts: int = 0
    checked_at: datetime | None = None
    loaded_at: datetime | None = None
    load_id: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class LoadedArchive:
    """What a load found in an archive: its digest, its rows, and the first and last instant in it.

    Rows outside `since` to `until` were left out; None where nothing was left out on that side.
    """

    path: str
    sha256: str
    row_count: int
    first_at: datetime | None
    last_at: datetime | None
    loaded_at: datetime
    since: datetime | None = None
    until: datetime | None = None


_COLUMNS = (
    "exchange, path, dataset, symbol, exchange_symbol, timeframe, period_start, period_end, status, bytes,"
    " published_sha256, computed_sha256, loaded_sha256, row_count, first_at, last_at, attempts, checked_at, loaded_at,"
    " load_id, error"
)
_IS_SAME = "loaded_sha256 = %(sha256)s"
_RECORD_LOADED = (
    "update ops.archive_files set status = 'loaded', loaded_sha256 = %(sha256)s,"
    f" row_count = case when {_IS_SAME} then greatest(row_count, %(row_count)s) else %(row_count)s end,"
    f" first_at = case when {_IS_SAME} then least(first_at, %(first_at)s) else %(first_at)s end,"
    f" last_at = case when {_IS_SAME} then greatest(last_at, %(last_at)s) else %(last_at)s end,"
    " loaded_at = %(loaded_at)s, load_id = %(load_id)s"
    " where exchange = %(exchange)s and path = %(path)s"
    f" and (loaded_sha256 is null or {_IS_SAME} or (coalesce(computed_sha256, %(sha256)s) = %(sha256)s"
    " and coalesce(%(since)s, '-infinity'::timestamptz) <= period_start"
    " and coalesce(%(until)s, 'infinity'::timestamptz) >= period_end))"
)


def record_archive(connection: psycopg.Connection, file: ArchiveFile) -> None:
    """Record one asking for an archive; counts the attempt and keeps what a load recorded before.

    A file that is loaded stays `loaded` while its published checksum is the one that was loaded.

    Raises:
        UsageError: the status is not one of ARCHIVE_STATES.
    """
    if file.status not in ARCHIVE_STATES:
        raise UsageError(one_of("status", file.status, ARCHIVE_STATES))
    connection.execute(
        "insert into ops.archive_files as held (exchange, path, dataset, symbol, exchange_symbol, timeframe,"
        " period_start, period_end, status, bytes, published_sha256, computed_sha256, attempts, checked_at, error)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 1, %s, %s)"
        " on conflict (exchange, path) do update set"
        " status = case when held.status = 'loaded' and excluded.status not in ('checksum_mismatch', 'superseded')"
        " and held.loaded_sha256 = coalesce(excluded.computed_sha256, excluded.published_sha256, held.loaded_sha256)"
        " then 'loaded' else excluded.status end,"
        " bytes = coalesce(excluded.bytes, held.bytes),"
        " published_sha256 = coalesce(excluded.published_sha256, held.published_sha256),"
        " computed_sha256 = coalesce(excluded.computed_sha256, held.computed_sha256),"
        " attempts = held.attempts + 1, checked_at = excluded.checked_at, error = excluded.error",
        [
            file.exchange,
            file.path,
            file.dataset,
            file.symbol,
            file.exchange_symbol,
            file.timeframe,
            file.period_start,
            file.period_end,
            file.status,
            file.bytes,
            file.published_sha256,
            file.computed_sha256,
            file.checked_at,
            file.error,
        ],
    )


def record_loaded_archives(
    cursor: psycopg.Cursor[Any], exchange: str, archives: Sequence[LoadedArchive], *, load_id: str
) -> None:
    """Record in the caller's transaction that the rows of these archives are in bronze; unknown paths are ignored.

    Parts of the same bytes add up. A part of other bytes than those that are loaded leaves the row as it is: the rest
    of the file is still in bronze as it was, and `--check-reissued` must go on finding it. So do bytes that are not
    those downloaded last: a retry of what was replaced since.
    """
    cursor.executemany(_RECORD_LOADED, [_loaded(exchange, item, load_id) for item in archives])


def _loaded(exchange: str, item: LoadedArchive, load_id: str) -> dict[str, Any]:
    return {**asdict(item), "exchange": exchange, "load_id": load_id}


def archive_file(connection: psycopg.Connection, exchange: str, path: str) -> ArchiveFile | None:
    """Return what is known of one archive, or None."""
    found = _select(connection, "where exchange = %s and path = %s", [exchange, path])
    return found[0] if found else None


def archives_of(
    connection: psycopg.Connection,
    exchange: str,
    dataset: str,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    window: Window | None = None,
) -> list[ArchiveFile]:
    """Return the known archives whose period overlaps the window, of one market where it is named."""
    # Only what is named: an index is of no use to a condition that may be about anything.
    where = ["exchange = %(exchange)s", "dataset = %(dataset)s"]
    parameters: dict[str, Any] = {"exchange": exchange, "dataset": dataset}
    for name, value in (("symbol", symbol), ("timeframe", timeframe)):
        if value is not None:
            where.append(f"{name} = %({name})s")
            parameters[name] = value
    if window is not None:
        # No archive covers more than a month, so none of the window begins before its month.
        where += [
            "period_start >= date_trunc('month', %(start)s, 'UTC')",
            "period_start < %(end)s",
            "period_end > %(start)s",
        ]
        parameters |= {"start": window.start, "end": window.end}
    condition = " and ".join(where)
    return _select(connection, f"where {condition} order by symbol, timeframe, period_start, path", parameters)


def _select(connection: psycopg.Connection, where: str, parameters: Any) -> list[ArchiveFile]:
    with connection.cursor(row_factory=class_row(ArchiveFile)) as cursor:
        return cursor.execute(f"select {_COLUMNS} from ops.archive_files {where}".encode(), parameters).fetchall()
