"""An empty ledger for each test; the database is made once per module, because that takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from marketlake.embedded_postgres import PostgresAddress
from marketlake.ledger import connect
from marketlake.settings import Settings, load_settings
from tests.databases import environment_of


@pytest.fixture
def settings(postgres_of_module: PostgresAddress, home: Path) -> Settings:
    """Settings that lead to this module's database and this test's home."""
    return load_settings(environ=environment_of(postgres_of_module) | {"MARKETLAKE_HOME": str(home)})


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection to an empty ledger."""
    with connect(settings) as opened:
        tables = opened.execute(
            "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind = 'r'"
            " and relname <> 'schema_version'"
        ).fetchall()
        names = sql.SQL(", ").join(sql.Identifier("ops", name) for (name,) in tables)
        opened.execute(sql.SQL("truncate {} restart identity cascade").format(names))
        yield opened
