"""The publish step: changed ranges from the lake to Postgres, each with its entry in the queue that dbt consumes.

One transaction for each series (market and timeframe): rows, day counts, publications and the changes they cover come
together or not at all. A lock for each series keeps publishers of the same rows apart; no JVM.
"""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import psycopg

from marketlake.crash import crash_point
from marketlake.datasets import Dataset, dataset_named
from marketlake.errors import DataError
from marketlake.instants import DAY, Window, floor_instant
from marketlake.lake.files import STATED_COLUMNS, TableFiles, files_of, open_table, table_names
from marketlake.lake.schemas import arrow_schema
from marketlake.ledger import (
    ChangeRow,
    changes_unpublished,
    insert_publication,
    mark_published,
    newest_publication,
    run_named,
)
from marketlake.ledger.database import lock_key
from marketlake.ledger.facts import joined
from marketlake.publish.bronze_tables import ensure_bronze_tables
from marketlake.publish.current_rows import Series, publish_range
from marketlake.publish.day_quality import update_days
from marketlake.settings import Settings


def publish_changes(connection: psycopg.Connection, settings: Settings, *, run_id: str) -> dict[str, Any]:
    """Publish every range that waits, of all runs; return ranges, rows written and deleted, and seconds.

    Raises:
        DataError: the two sides of a series differ after copying, or its table cannot be read. That series' transaction
            is rolled back and its ranges go on waiting; the others are published all the same.
    """
    started = time.monotonic()
    crash_point("publish.before_copy")
    ensure_bronze_tables(connection)
    by_series = defaultdict[Series, list[ChangeRow]](list)
    for change in changes_unpublished(connection):
        series = Series(change.dataset, change.exchange, change.symbol, change.timeframe)
        by_series[series].append(change)
    now = _newest_now(connection, run_id)
    ranges = written = deleted = 0
    refused = []
    for series in sorted(by_series):
        try:
            done = _publish_series(connection, settings, series, by_series[series], run_id=run_id, now=now)
        except DataError as error:
            refused.append(str(error))
            continue
        ranges, written, deleted = ranges + done[0], written + done[1], deleted + done[2]
    if refused:
        raise DataError("\n".join([f"{len(refused)} of {len(by_series)} markets were not published:", *refused[:10]]))
    seconds = round(time.monotonic() - started, 3)
    return {"ranges": ranges, "rows_written": written, "rows_deleted": deleted, "seconds": seconds}


def _newest_now(connection: psycopg.Connection, run_id: str) -> datetime:
    """Return the newest now of any run: an old run that is repeated must not count today's days up to its own now."""
    own = run_named(connection, run_id).now
    row = connection.execute("select greatest(max(now_at), %s) from ops.runs", [own]).fetchone()
    return row[0] if row else own


def _publish_series(
    connection: psycopg.Connection,
    settings: Settings,
    series: Series,
    changes: list[ChangeRow],
    *,
    run_id: str,
    now: datetime,
) -> tuple[int, int, int]:
    dataset = dataset_named(series.dataset)
    ranges = written = deleted = 0
    with connection.transaction(), connection.cursor() as cursor:
        still = _lock_waiting(cursor, series, changes)
        if not still:
            return 0, 0, 0
        table = _opened(settings, dataset)  # after the lock, so it is as new as what others published
        outcomes = []
        for window in joined(change.window for change in still):
            kept = _within_history(window, settings, now)
            if kept is None:
                continue
            copied = publish_range(cursor, table, dataset, series=series, window=kept)
            days = update_days(
                cursor,
                dataset,
                series=series,
                window=kept,
                counted=copied.by_day,
                root=settings.lake_root,
                now=now,
            )
            is_told_again = any(change.is_told_again for change in still if kept.overlap(change.window))
            if copied.written or copied.deleted or days or is_told_again:
                outcomes.append((kept, copied))
        for window, copied in outcomes:
            covered = [change.change_id for change in still if window.overlap(change.window)]
            insert_publication(
                cursor,
                dataset=series.dataset,
                exchange=series.exchange,
                symbol=series.symbol,
                timeframe=series.timeframe,
                window=window,
                rows_written=copied.written,
                rows_deleted=copied.deleted,
                run_id=run_id,
                change_ids=covered,
            )
            ranges, written, deleted = ranges + 1, written + copied.written, deleted + copied.deleted
        _let_go(cursor, connection, still)
    return ranges, written, deleted


def _lock_waiting(cursor: psycopg.Cursor[Any], series: Series, changes: list[ChangeRow]) -> list[ChangeRow]:
    """Take the series' lock until the transaction ends; return the changes that nobody published meanwhile."""
    name = "|".join((series.dataset, series.exchange, series.symbol, series.timeframe))
    cursor.execute("select pg_advisory_xact_lock(%s)", [lock_key(f"publish {name}")])
    rows = cursor.execute(
        "select change_id from ops.changes where change_id = any(%s) and publication_id is null",
        [[change.change_id for change in changes]],
    ).fetchall()
    waiting = {int(change_id) for (change_id,) in rows}
    return [change for change in changes if change.change_id in waiting]


def _let_go(cursor: psycopg.Cursor[Any], connection: psycopg.Connection, changes: list[ChangeRow]) -> None:
    """Let changes that turned out to change nothing name the newest publication, so that they wait no longer."""
    rows = cursor.execute(
        "select change_id from ops.changes where change_id = any(%s) and publication_id is null",
        [[change.change_id for change in changes]],
    ).fetchall()
    if rows:
        mark_published(cursor, [int(change_id) for (change_id,) in rows], newest_publication(connection))


def _opened(settings: Settings, dataset: Dataset) -> TableFiles:
    if dataset.table not in table_names(settings.lake_root):  # all that came so far was rejected
        return TableFiles(dataset.table, settings.lake_root, 0, arrow_schema(dataset), dataset.partitioned_by, ())
    table = open_table(settings.lake_root, dataset.table)
    return files_of(table, dataset.table, [*STATED_COLUMNS, dataset.time_column])


def _within_history(window: Window, settings: Settings, now: datetime) -> Window | None:
    """Return the part of the window that Postgres holds: whole UTC days (`publish.history_days`)."""
    if settings.publish.history_days is None:
        return window
    start = max(window.start, floor_instant(now - timedelta(days=settings.publish.history_days), DAY))
    return Window(start, window.end) if start < window.end else None
