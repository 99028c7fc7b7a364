"""Tests for ``marketlake.ledger.database``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.errors import ConfigError, UnavailableError
from marketlake.ledger import connect
from marketlake.ledger.database import open_connection, schema_scripts
from marketlake.settings import Settings, load_settings


@pytest.fixture
def settings(postgres: PostgresAddress) -> Settings:
    """Settings that lead to a database that nobody connected to before."""
    return load_settings()


def test_a_new_database_gets_every_schema_and_a_second_connect_changes_nothing(settings: Settings) -> None:
    with connect(settings) as first:
        applied = first.execute("select script, applied_at from ops.schema_version order by 1").fetchall()
    with connect(settings) as second:
        again = second.execute("select script, applied_at from ops.schema_version order by 1").fetchall()
        schemas = {name for (name,) in second.execute("select nspname from pg_namespace").fetchall()}

    assert [script for script, _ in applied] == schema_scripts()
    assert applied == again
    assert {"ops", "bronze", "staging", "silver", "gold_build", "gold", "features"} <= schemas


def test_processes_that_connect_at_once_migrate_once(settings: Settings) -> None:
    with ThreadPoolExecutor(6) as pool:
        for connection in pool.map(lambda _: connect(settings), range(6)):
            connection.close()

    with connect(settings) as connection:
        row = connection.execute("select count(*) from ops.schema_version").fetchone()
    assert row == (len(schema_scripts()),)


def test_the_reader_reads_published_layers_made_later_and_nothing_of_the_ledger(
    connection: psycopg.Connection, settings: Settings, postgres: PostgresAddress
) -> None:
    connection.execute("create table gold.mart_made_later as select 1 as one")
    reader = PostgresAddress(
        postgres.host, postgres.port, postgres.database, "marketlake_reader", settings.database.reader_password
    )

    with open_connection(reader) as reading:
        assert reading.execute("select one from gold.mart_made_later").fetchall() == [(1,)]
        for refused in (
            "select * from ops.runs",
            "create table gold.mine (one int)",
            "delete from gold.mart_made_later",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reading.execute(refused.encode())


def test_every_table_of_the_ledger_says_what_it_is(connection: psycopg.Connection) -> None:
    silent = connection.execute(
        "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'v')"
        " and obj_description(oid, 'pg_class') is null and relname <> 'schema_version'"
    ).fetchall()

    assert silent == []


def test_a_server_that_is_not_there_is_named_in_one_line() -> None:
    with pytest.raises(
        UnavailableError, match=r"Postgres at 127.0.0.1:1, database d, user u does not answer"
    ) as caught:
        open_connection(PostgresAddress("127.0.0.1", 1, "d", "u", "secret"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_is_a_matter_of_the_settings(postgres: PostgresAddress) -> None:
    wrong = PostgresAddress(postgres.host, postgres.port, postgres.database, postgres.username, "wrong")

    with pytest.raises(ConfigError, match=r"password authentication failed.*check the section database"):
        open_connection(wrong)
