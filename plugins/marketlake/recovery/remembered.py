"""What no entry tells and only the exchanges could tell again: lists of markets, and askings for archives.

Taken from the ledger itself where it still has them, and from its mirror in the lake where it is empty.
"""

from __future__ import annotations

from typing import Any

import psycopg
from deltalake import DeltaTable
from psycopg import sql

from marketlake.lake.files import table_names, table_path

_REMEMBERED = sql.Identifier("remembered_archives")
# What a load found out; the replay says it again.
_LOADED = ("loaded_sha256", "loaded_at", "load_id", "row_count", "first_at", "last_at")


def remember_archives(connection: psycopg.Connection, root: str) -> None:
    """Set aside what ledger and mirror know of archives, in the caller's transaction, and forget what comes again."""
    connection.execute(
        sql.SQL("create temporary table {} (like ops.archive_files including all) on commit drop").format(_REMEMBERED)
    )
    connection.execute(sql.SQL("insert into {} select * from ops.archive_files").format(_REMEMBERED))
    _insert(connection, _REMEMBERED, _mirrored(root, "archive_files"))
    connection.execute("truncate ops.archive_files")


def recall_archives(connection: psycopg.Connection) -> None:
    """Add the archives that no manifest names, and how often and when each one was asked for."""
    nothing = sql.SQL(", ").join(sql.SQL("{} = null").format(sql.Identifier(name)) for name in _LOADED)
    connection.execute(
        sql.SQL("update {} set status = 'verified', {} where loaded_sha256 is not null").format(_REMEMBERED, nothing)
    )
    connection.execute(
        sql.SQL(
            "insert into ops.archive_files as held select * from {} on conflict (exchange, path) do update set"
            " attempts = greatest(held.attempts, excluded.attempts),"
            " checked_at = greatest(held.checked_at, excluded.checked_at),"
            " published_sha256 = coalesce(excluded.published_sha256, held.published_sha256), error = excluded.error"
        ).format(_REMEMBERED)
    )


def recall_instruments(connection: psycopg.Connection, root: str) -> None:
    """Fill a ledger that lists no markets with those of the mirror; the next run asks the exchanges anew."""
    held = connection.execute("select exists (select 1 from ops.instruments)").fetchone()
    if held and not held[0]:
        _insert(connection, sql.Identifier("ops", "instruments"), _mirrored(root, "instruments"))


def _mirrored(root: str, table: str) -> list[dict[str, Any]]:
    name = f"control.{table}"
    if name not in table_names(root):
        return []
    rows: list[dict[str, Any]] = DeltaTable(table_path(root, name)).to_pyarrow_table().to_pylist()
    return rows


def _insert(connection: psycopg.Connection, table: sql.Identifier, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = list(rows[0])
    statement = sql.SQL("insert into {} ({}) values ({}) on conflict do nothing").format(
        table,
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(sql.Placeholder() for _ in names),
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, [tuple(row[name] for name in names) for row in rows])
