"""The instrument master: the markets of each exchange by date (ING-31). A change closes the old row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from marketlake.errors import DataError
from marketlake.work import Instrument

_COLUMNS = tuple(field.name for field in fields(Instrument))
_COLUMN_LIST = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
_INSERT = sql.SQL("insert into ops.instruments ({}, valid_from) values ({}, %s)").format(
    _COLUMN_LIST, sql.SQL(", ").join(sql.Placeholder() for _ in _COLUMNS)
)
_VALID_AT = sql.SQL(
    "select {} from ops.instruments where exchange = %(exchange)s"
    " and valid_from <= %(at)s and (valid_to is null or valid_to > %(at)s) order by symbol"
).format(_COLUMN_LIST)
_NEWEST_AT = sql.SQL(
    "select distinct on (symbol) {}, valid_to from ops.instruments where exchange = %(exchange)s"
    " and valid_from <= %(at)s order by symbol, valid_from desc"
).format(_COLUMN_LIST)


def store_instruments(
    connection: psycopg.Connection, exchange: str, instruments: Sequence[Instrument], at: datetime
) -> int:
    """Take over the exchange's list as of `at` (the run's clock, UTC); return how many rows are new.

    A market that changed closes its old row at `at` and opens a new one; one that left the list closes its row. The
    first list counts from the beginning of time, so that plans for the past find its markets.

    Raises:
        DataError: the list is empty, or names a symbol twice.
    """
    if not instruments:
        raise DataError(f"{exchange} listed no markets; its old list is kept")
    wanted = {instrument.symbol: instrument for instrument in instruments}
    if len(wanted) != len(instruments):
        names = [instrument.symbol for instrument in instruments]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"{exchange} listed {', '.join(twice)} more than once; its old list is kept")
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(hashtext('marketlake.instruments'), hashtext(%s))", [exchange])
        held = {instrument.symbol: instrument for instrument in _open_rows(connection, exchange)}
        gone = [symbol for symbol, instrument in held.items() if wanted.get(symbol) != instrument]
        new = [instrument for symbol, instrument in wanted.items() if held.get(symbol) != instrument]
        start = at if held else datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        _close(cursor, exchange, gone, at)
        cursor.executemany(_INSERT, [(*astuple(instrument), start) for instrument in new])
        cursor.execute(
            "insert into ops.instrument_refreshes (exchange, refreshed_at, instruments) values (%s, %s, %s)"
            " on conflict (exchange) do update"
            " set refreshed_at = excluded.refreshed_at, instruments = excluded.instruments",
            [exchange, at, len(wanted)],
        )
    return len(new)


def instruments_of(connection: psycopg.Connection, exchange: str, at: datetime) -> list[Instrument]:
    """Return the exchange's markets as they were known at `at`, by symbol."""
    with connection.cursor(row_factory=class_row(Instrument)) as cursor:
        return cursor.execute(_VALID_AT, {"exchange": exchange, "at": at}).fetchall()


def known_instruments(connection: psycopg.Connection, exchange: str, at: datetime) -> list[Instrument]:
    """Return the exchange's markets of `at` and those that left its list before, as delisted since then, by symbol."""
    with connection.cursor() as cursor:
        rows = cursor.execute(_NEWEST_AT, {"exchange": exchange, "at": at}).fetchall()
    return [_left(Instrument(*row[:-1]), row[-1], at) for row in rows]


def instruments_refreshed_at(connection: psycopg.Connection, exchange: str) -> datetime | None:
    """Return when the exchange's list was last taken over, on that run's clock; None before the first time."""
    row = connection.execute(
        "select refreshed_at from ops.instrument_refreshes where exchange = %s", [exchange]
    ).fetchone()
    return row[0] if row else None


def _left(instrument: Instrument, valid_to: datetime | None, at: datetime) -> Instrument:
    if valid_to is None or valid_to > at:
        return instrument
    return replace(instrument, delisted_at=min(instrument.delisted_at or valid_to, valid_to))


def _open_rows(connection: psycopg.Connection, exchange: str) -> list[Instrument]:
    query = sql.SQL("select {} from ops.instruments where exchange = %s and valid_to is null").format(_COLUMN_LIST)
    with connection.cursor(row_factory=class_row(Instrument)) as cursor:
        return cursor.execute(query, [exchange]).fetchall()


def _close(cursor: psycopg.Cursor, exchange: str, symbols: Sequence[str], at: datetime) -> None:
    where = "where exchange = %s and symbol = any(%s) and valid_to is null"
    # A second list at the same instant, or one whose clock went back, replaces the row: an empty range is none.
    cursor.execute(f"delete from ops.instruments {where} and valid_from >= %s", [exchange, list(symbols), at])
    cursor.execute(f"update ops.instruments set valid_to = %s {where}", [at, exchange, list(symbols)])
