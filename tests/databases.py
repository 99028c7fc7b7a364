"""Databases for tests: each is new and empty, all live in the session's one server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
from psycopg import sql

from marketlake.embedded_postgres import PostgresAddress


@contextmanager
def fresh_database(server: PostgresAddress) -> Iterator[PostgresAddress]:
    """Make an empty database in the server and drop it at the end, whoever is still connected."""
    address = replace(server, database=f"test_{secrets.token_hex(4)}")
    name = sql.Identifier(address.database)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(name))
    try:
        yield address
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))


def environment_of(address: PostgresAddress) -> dict[str, str]:
    """Return the variables that make `load_settings` choose this database, without starting a server."""
    return {
        "MARKETLAKE__DATABASE__EMBEDDED": "false",
        "MARKETLAKE__DATABASE__HOST": address.host,
        "MARKETLAKE__DATABASE__PORT": str(address.port),
        "MARKETLAKE__DATABASE__DATABASE": address.database,
        "MARKETLAKE__DATABASE__USERNAME": address.username,
        "MARKETLAKE__DATABASE__PASSWORD": address.password,
    }
