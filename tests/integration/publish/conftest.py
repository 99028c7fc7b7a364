"""An empty lake and database for each test; the database is made once per module, because that takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import sql

from marketlake.embedded_postgres import PostgresAddress
from marketlake.ledger import Run, connect, create_run
from marketlake.publish.bronze_tables import ensure_bronze_tables
from marketlake.settings import load_settings
from tests.databases import environment_of
from tests.integration.publish.shelf import NOW, RUN, Shelf


@pytest.fixture
def shelf(postgres_of_module: PostgresAddress, home: Path) -> Iterator[Shelf]:
    """An empty lake and an empty, migrated database with one run."""
    settings = load_settings(environ=environment_of(postgres_of_module) | {"MARKETLAKE_HOME": str(home)})
    with connect(settings) as connection:
        ensure_bronze_tables(connection)
        tables = connection.execute(
            "select nspname, relname from pg_class join pg_namespace as n on n.oid = relnamespace"
            " where nspname in ('ops', 'bronze') and relkind = 'r' and relname <> 'schema_version'"
        ).fetchall()
        names = sql.SQL(", ").join(sql.Identifier(*name) for name in tables)
        connection.execute(sql.SQL("truncate {} restart identity cascade").format(names))
        create_run(connection, Run(RUN, "cli", None, "incremental", {}, NOW))
        yield Shelf(settings, connection)
