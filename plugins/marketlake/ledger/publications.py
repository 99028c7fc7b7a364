"""The queue between publish and dbt: changed ranges that wait, and publications in the order of their commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from marketlake.instants import Window
from marketlake.ledger.database import lock_key

PUBLISH_LOCK = lock_key("publish")


@dataclass(frozen=True)
class ChangeRow:
    """One range that waits for its publication; one that a rebuild told again gets it also where no row changed."""

    change_id: int
    load_id: str
    run_id: str
    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    range_start: datetime
    range_end: datetime
    is_told_again: bool = False

    @property
    def window(self) -> Window:
        """The range."""
        return Window(self.range_start, self.range_end)


@dataclass(frozen=True)
class Publication:
    """One published range, in the order of `publication_id`."""

    publication_id: int
    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    range_start: datetime
    range_end: datetime
    rows_written: int
    rows_deleted: int
    run_id: str
    published_at: datetime


_CHANGE = "change_id, load_id, run_id, dataset, exchange, symbol, timeframe, range_start, range_end, is_told_again"
_PUBLICATION = (
    "publication_id, dataset, exchange, symbol, timeframe, range_start, range_end, rows_written, rows_deleted, run_id,"
    " published_at"
)


def changes_unpublished(connection: psycopg.Connection) -> list[ChangeRow]:
    """Return the changes that no publication holds yet, of all runs, oldest first."""
    with connection.cursor(row_factory=class_row(ChangeRow)) as cursor:
        return cursor.execute(
            f"select {_CHANGE} from ops.changes where publication_id is null order by change_id"
        ).fetchall()


def hold_publish_order(cursor: psycopg.Cursor[Any]) -> None:
    """Take the lock under which ids are given out, until the transaction ends; so ids commit in their order."""
    cursor.execute("select pg_advisory_xact_lock(%s)", [PUBLISH_LOCK])


def insert_publication(
    cursor: psycopg.Cursor[Any],
    *,
    dataset: str,
    exchange: str,
    symbol: str,
    timeframe: str,
    window: Window,
    rows_written: int,
    rows_deleted: int,
    run_id: str,
    change_ids: Sequence[int] = (),
) -> int:
    """Publish the range in the caller's transaction and return its id; the changes it covers stop waiting.

    Takes the lock of `hold_publish_order`: call it last, after the rows are copied, and commit at once.
    """
    hold_publish_order(cursor)
    row = cursor.execute(
        "insert into ops.publications"
        " (dataset, exchange, symbol, timeframe, range_start, range_end, rows_written, rows_deleted, run_id)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning publication_id",
        [dataset, exchange, symbol, timeframe, window.start, window.end, rows_written, rows_deleted, run_id],
    ).fetchone()
    if row is None:
        raise RuntimeError("inserting a publication returned no id")
    mark_published(cursor, change_ids, int(row[0]))
    return int(row[0])


def mark_published(cursor: psycopg.Cursor[Any], change_ids: Sequence[int], publication_id: int) -> None:
    """Let the changes name their publication, in the caller's transaction."""
    cursor.execute(
        "update ops.changes set publication_id = %s where change_id = any(%s)", [publication_id, list(change_ids)]
    )


def publications_between(connection: psycopg.Connection, after: int, until: int) -> list[Publication]:
    """Return the publications with ids in (after, until], in order."""
    with connection.cursor(row_factory=class_row(Publication)) as cursor:
        return cursor.execute(
            f"select {_PUBLICATION} from ops.publications where publication_id > %s and publication_id <= %s"
            " order by publication_id",
            [after, until],
        ).fetchall()


def newest_publication(connection: psycopg.Connection) -> int:
    """Return the highest publication id, 0 where nothing is published."""
    row = connection.execute("select coalesce(max(publication_id), 0) from ops.publications").fetchone()
    return int(row[0]) if row else 0
