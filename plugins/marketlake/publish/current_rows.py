"""Current rows of one range into Postgres: COPY, upsert what differs, delete what is gone, compare both sides.

Everything here is part of the caller's transaction, which holds the series' lock; so the rows read from the lake are at
least as new as any that was published before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from marketlake.datasets import Dataset
from marketlake.errors import DataError
from marketlake.instants import Window
from marketlake.lake.files import TableFiles
from marketlake.lake.reading import MarketRange
from marketlake.publish.bronze_tables import key_columns, table_name
from marketlake.publish.copying import Sent, copy_range

_INCOMING = sql.Identifier("incoming")


@dataclass(frozen=True, order=True)
class Series:
    """One market and timeframe (empty for events) of a dataset: what is published range by range."""

    dataset: str
    exchange: str
    symbol: str
    timeframe: str


@dataclass(frozen=True)
class Copied:
    """Rows that a range has now, how many of them were written or deleted, and the rows of each UTC day."""

    rows: int
    written: int
    deleted: int
    by_day: Mapping[date, int] = field(default_factory=dict)


def publish_range(
    cursor: psycopg.Cursor[Any], table: TableFiles, dataset: Dataset, *, series: Series, window: Window
) -> Copied:
    """Make the range in Postgres equal to its current rows in the lake.

    Raises:
        DataError: count or digests of the two sides differ afterwards.
    """
    wanted = MarketRange(series.exchange, series.symbol, series.timeframe or None, window.start, window.end)
    if _is_empty(cursor, dataset, series, window):
        sent = copy_range(cursor, table_name(dataset), table, dataset, wanted)
        copied = Copied(sent.rows, sent.rows, 0)
    else:
        cursor.execute(
            sql.SQL("create temporary table if not exists {} (like {}) on commit drop").format(
                _INCOMING, table_name(dataset)
            )
        )
        cursor.execute(sql.SQL("truncate {}").format(_INCOMING))
        sent = copy_range(cursor, _INCOMING, table, dataset, wanted)
        written = _upsert(cursor, dataset)
        copied = Copied(sent.rows, written, 0)
    held, by_day = _held(cursor, dataset, series, window)
    if held.rows > sent.rows:
        # All that came is there: only where there is more, something vanished. To search for it costs the most.
        copied = replace(copied, deleted=_delete_vanished(cursor, dataset, series, window))
        held, by_day = _held(cursor, dataset, series, window)
    if held != sent:
        raise DataError(
            f"{series.exchange} {series.symbol} {series.timeframe} {window}: the lake has {sent.rows:,} current rows,"
            f" Postgres {held.rows:,} after publishing, or their digests differ; nothing was committed"
        )
    return replace(copied, by_day=by_day)


def _upsert(cursor: psycopg.Cursor[Any], dataset: Dataset) -> int:
    """Write the incoming rows that differ, never over a row with a newer `known_at`."""
    key = key_columns(dataset)
    others = [name for name in dataset.column_names if name not in key]
    both = {side: sql.SQL(", ").join(sql.Identifier(side, name) for name in others) for side in ("held", "excluded")}
    changes = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others)
    cursor.execute(
        sql.SQL(
            "insert into {table} as held ({columns}) select {columns} from {incoming} on conflict ({key}) do update"
            " set {changes} where held.known_at <= excluded.known_at and ({held}) is distinct from ({excluded})"
        ).format(
            table=table_name(dataset),
            columns=sql.SQL(", ").join(map(sql.Identifier, dataset.column_names)),
            incoming=_INCOMING,
            key=sql.SQL(", ").join(map(sql.Identifier, key)),
            changes=changes,
            held=both["held"],
            excluded=both["excluded"],
        )
    )
    return cursor.rowcount


def _delete_vanished(cursor: psycopg.Cursor[Any], dataset: Dataset, series: Series, window: Window) -> int:
    same = sql.SQL(" and ").join(
        sql.SQL("held.{0} = incoming.{0}").format(sql.Identifier(name)) for name in key_columns(dataset)
    )
    condition, parameters = _inside(dataset, series, window)
    # Without figures of its own on a new table the planner takes a range for a row or two, and compares each with all.
    cursor.execute("set local enable_nestloop = off")
    cursor.execute(
        sql.SQL("delete from {} as held where {} and not exists (select 1 from {} as incoming where {})").format(
            table_name(dataset), condition, _INCOMING, same
        ),
        parameters,
    )
    deleted = cursor.rowcount
    cursor.execute("set local enable_nestloop = default")
    return deleted


def _is_empty(cursor: psycopg.Cursor[Any], dataset: Dataset, series: Series, window: Window) -> bool:
    condition, parameters = _inside(dataset, series, window)
    query = sql.SQL("select not exists (select 1 from {} where {})").format(table_name(dataset), condition)
    row = cursor.execute(query, parameters).fetchone()
    return bool(row and row[0])


def _held(
    cursor: psycopg.Cursor[Any], dataset: Dataset, series: Series, window: Window
) -> tuple[Sent, dict[date, int]]:
    """Return the range's rows in Postgres and the sum of their digests' first words, and the rows of each UTC day."""
    condition, parameters = _inside(dataset, series, window)
    word = "('x' || substr(digest, 4, 8))::bit(32)::bigint"
    query = sql.SQL("select partition_date, count(*), sum({}) from {} where {} group by partition_date").format(
        sql.SQL(word), table_name(dataset), condition
    )
    days = cursor.execute(query, parameters).fetchall()
    by_day = {day: int(rows) for day, rows, _ in days}
    return Sent(sum(by_day.values()), sum(int(words) for _, _, words in days)), by_day


def _inside(dataset: Dataset, series: Series, window: Window) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the condition that a row belongs to the range, and its parameters."""
    timeframe = sql.SQL(" and timeframe = %(timeframe)s" if dataset.has_timeframes else "")
    condition = sql.SQL(
        "exchange = %(exchange)s and symbol = %(symbol)s{} and {time} >= %(start)s and {time} < %(end)s"
    ).format(timeframe, time=sql.Identifier(dataset.time_column))
    return condition, {
        "exchange": series.exchange,
        "symbol": series.symbol,
        "timeframe": series.timeframe,
        "start": window.start,
        "end": window.end,
    }
