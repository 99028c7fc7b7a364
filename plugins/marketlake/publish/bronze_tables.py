"""The tables of Postgres schema `bronze`: the current rows of the lake's bronze tables, rendered from the registry.

Each dataset is one table with all columns of the registry; its key is ordered by symbol, timeframe and time before
exchange, because every reader asks for a market's range. The names that users know (`raw_market_data_1m`, …) are views.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from marketlake.datasets import DATASETS, Column, Dataset
from marketlake.ledger.database import READER_ROLE, lock_key

_TABLES_LOCK = lock_key("bronze tables")
_KEY_ORDER = ("symbol", "timeframe", "open_time", "funding_time", "trade_kind", "trade_id", "exchange")
QUALITY_TABLE = "market_day_quality"
_QUALITY_COLUMNS = (
    ("dataset", "text not null", "The dataset whose rows are counted."),
    ("exchange", "text not null", "Who delivered the rows."),
    ("symbol", "text not null", "ccxt's unified symbol."),
    ("timeframe", "text not null", "Length of the candles; empty for events."),
    ("day", "date not null", "UTC day."),
    ("expected", "bigint", "Candles that the grid has on the day, within the listing and up to now; null for events."),
    ("present", "bigint not null", "Current rows of the day."),
    ("rejected", "bigint not null", "Distinct rows of the day that are in the dead-letter queue."),
    ("updated_at", "timestamptz not null default clock_timestamp()", "When a figure of the row last changed, UTC."),
)


def ensure_bronze_tables(connection: psycopg.Connection) -> None:
    """Make the tables and views of schema `bronze` that are missing, and add columns that the registry gained.

    Costs one query when nothing is missing. Safe when several processes call it at once.
    """
    if not _missing(connection):
        return
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_TABLES_LOCK])
        connection.execute("create schema if not exists bronze")
        for dataset in DATASETS.values():
            _create_table(connection, dataset)
            _create_views(connection, dataset)
        _create_quality_table(connection)
        connection.execute(
            sql.SQL("grant select on all tables in schema bronze to {}").format(sql.Identifier(READER_ROLE))
        )


def table_name(dataset: Dataset) -> sql.Identifier:
    """Return the table that holds a dataset's current rows in Postgres."""
    schema, _, name = dataset.table.partition(".")
    return sql.Identifier(schema, name)


def key_columns(dataset: Dataset) -> list[str]:
    """Return the dataset's key in the order of the table's primary key."""
    return sorted(dataset.key, key=_KEY_ORDER.index)


def _missing(connection: psycopg.Connection) -> bool:
    wanted = {(dataset.name, column) for dataset in DATASETS.values() for column in dataset.column_names}
    wanted |= {(QUALITY_TABLE, name) for name, _, _ in _QUALITY_COLUMNS}
    wanted |= {(view, dataset.column_names[-1]) for dataset in DATASETS.values() for view in dataset.views}
    rows = connection.execute(
        "select table_name, column_name from information_schema.columns where table_schema = 'bronze'"
    ).fetchall()
    return not wanted <= {(str(table), str(column)) for table, column in rows}


def _create_table(connection: psycopg.Connection, dataset: Dataset) -> None:
    table = table_name(dataset)
    key = sql.SQL(", ").join(sql.Identifier(name) for name in key_columns(dataset))
    columns = sql.SQL(", ").join(_column_sql(column) for column in dataset.columns)
    connection.execute(sql.SQL("create table if not exists {} ({}, primary key ({}))").format(table, columns, key))
    connection.execute(sql.SQL("comment on table {} is {}").format(table, sql.Literal(dataset.doc)))
    for column in dataset.columns:
        connection.execute(sql.SQL("alter table {} add column if not exists {}").format(table, _column_sql(column)))
        connection.execute(
            sql.SQL("comment on column {}.{} is {}").format(table, sql.Identifier(column.name), sql.Literal(column.doc))
        )


def _column_sql(column: Column) -> sql.Composed:
    null = sql.SQL("" if column.is_nullable else " not null")
    return sql.SQL("{} {}{}").format(sql.Identifier(column.name), sql.SQL(column.postgres_type), null)


def _create_views(connection: psycopg.Connection, dataset: Dataset) -> None:
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in dataset.columns)
    for view, condition in dataset.views.items():
        name = sql.Identifier("bronze", view)
        connection.execute(
            sql.SQL("create or replace view {} as select {} from {} where {}").format(
                name, columns, table_name(dataset), sql.SQL(condition)
            )
        )
        note = f"Current rows of {dataset.table} where {condition}."
        connection.execute(sql.SQL("comment on view {} is {}").format(name, sql.Literal(note)))


def _create_quality_table(connection: psycopg.Connection) -> None:
    table = sql.Identifier("bronze", QUALITY_TABLE)
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind, _ in _QUALITY_COLUMNS
    )
    connection.execute(
        sql.SQL("create table if not exists {} ({}, primary key (dataset, symbol, timeframe, day, exchange))").format(
            table, columns
        )
    )
    note = "Per market, timeframe and UTC day: rows expected, present and rejected."
    connection.execute(sql.SQL("comment on table {} is {}").format(table, sql.Literal(note)))
    for name, _, doc in _QUALITY_COLUMNS:
        connection.execute(
            sql.SQL("comment on column {}.{} is {}").format(table, sql.Identifier(name), sql.Literal(doc))
        )
