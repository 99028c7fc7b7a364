"""Gold marts out of Postgres, as Arrow, by the role that may only read."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from marketlake.embedded_postgres import ensure_running
from marketlake.errors import UnknownNameError, one_of
from marketlake.ledger.database import READER_ROLE, open_connection
from marketlake.settings import Settings

_NUMERIC = psycopg.adapters.types["numeric"].oid
_TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int64(),
    "int4": pa.int64(),
    "int8": pa.int64(),
    "float4": pa.float64(),
    "float8": pa.float64(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "timestamp": pa.timestamp("us"),
}


def read_mart(settings: Settings, name: str, *, exact: bool = False) -> pa.Table:
    """Return all rows of `gold.<name>`; numeric columns as the nearest doubles, or with `exact` as decimals.

    Raises:
        UnknownNameError: gold has no such relation; the text names those it has.
        UnavailableError: the database does not answer.
    """
    address = replace(ensure_running(settings), username=READER_ROLE, password=settings.database.reader_password)
    with open_connection(address) as connection:
        if name not in (names := mart_names(connection)):
            raise UnknownNameError(
                one_of("mart", name, names or ["(gold is empty: build it with `marketlake step build`)"])
            )
        query = sql.SQL("select * from gold.{}").format(sql.Identifier(name))
        with connection.cursor(binary=True) as cursor:
            cursor.execute(query)
            fields = cursor.description or []
            columns = list(zip(*cursor.fetchall(), strict=True)) or [()] * len(fields)
    arrays = [_array(field.type_code, column, exact=exact) for field, column in zip(fields, columns, strict=True)]
    return pa.table(arrays, names=[field.name for field in fields])


def mart_names(connection: psycopg.Connection) -> list[str]:
    """Return the relations of schema gold that the reader may read, sorted."""
    rows = connection.execute(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'gold'"
        " and c.relkind in ('r', 'v', 'm', 'p') and has_table_privilege(c.oid, 'select') order by 1"
    ).fetchall()
    return [str(name) for (name,) in rows]


def _array(oid: int, column: tuple[Any, ...], *, exact: bool) -> pa.Array:
    if oid == _NUMERIC:
        return _numeric(column, exact=exact)
    known = psycopg.adapters.types.get(oid)
    type = _TYPES.get(known.name) if known else None
    return (
        pa.array(column, type) if type or any(value is not None for value in column) else pa.array(column, pa.string())
    )


def _numeric(column: tuple[Decimal | None, ...], *, exact: bool) -> pa.Array:
    if not exact:
        # Python rounds a decimal to the nearest double.
        return pa.array([None if value is None else float(value) for value in column], pa.float64())
    scales = [-int(value.as_tuple().exponent) for value in column if value is not None and value.is_finite()]
    return pa.array(column, pa.decimal256(76, max(scales, default=0)))
