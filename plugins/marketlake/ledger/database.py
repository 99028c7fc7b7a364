"""Connections to the ledger's database, and its schema.

Owns connecting with clear errors, applying `schema/*.sql` once each in the order of their names, and the reader role.
"""

from __future__ import annotations

import hashlib
from importlib import resources

import psycopg
from psycopg import sql

from marketlake.embedded_postgres import PostgresAddress, ensure_running
from marketlake.errors import ConfigError, UnavailableError
from marketlake.settings import Settings

READER_ROLE = "marketlake_reader"
CONNECT_TIMEOUT_SECONDS = 10


def lock_key(name: str) -> int:
    """Return the advisory lock key of a name: a signed 64-bit number that no other name is likely to share."""
    return int.from_bytes(hashlib.sha256(f"marketlake:{name}".encode()).digest()[:8], "big", signed=True)


MIGRATION_LOCK = lock_key("migration")


def connect(settings: Settings) -> psycopg.Connection:
    """Return a connection in autocommit mode to a ledger whose schema is up to date; instants come back in UTC.

    Starts the embedded server where the settings say so. Each ledger function commits its own transaction, unless the
    caller has opened one with `connection.transaction()`.

    Raises:
        UnavailableError: the server does not answer.
        ConfigError: it refuses user, password or database name.
        SetupError: the embedded server cannot be started.
    """
    connection = open_connection(ensure_running(settings))
    try:
        _migrate(connection, settings)
    except BaseException:
        connection.close()
        raise
    return connection


def open_connection(address: PostgresAddress) -> psycopg.Connection:
    """Return a plain connection in autocommit mode, without looking at the schema; errors as `connect`."""
    try:
        return psycopg.connect(
            address.url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="marketlake",
            options="-c timezone=UTC",
            keepalives_idle=30,
        )
    except psycopg.OperationalError as error:
        where = f"Postgres at {address.host}:{address.port}, database {address.database}, user {address.username}"
        reason = str(error).strip().splitlines()[-1]
        if any(text in reason for text in ("password authentication failed", "does not exist", "no password supplied")):
            raise ConfigError(f"{where}: {reason}; check the section database of the settings") from None
        raise UnavailableError(
            f"{where} does not answer: {reason}; check that it runs and that database.host and database.port are right"
        ) from None


def schema_scripts() -> list[str]:
    """Return the names of the schema's scripts in the order in which they are applied."""
    folder = resources.files("marketlake.ledger") / "schema"
    return sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))


def _migrate(connection: psycopg.Connection, settings: Settings) -> None:
    """Apply the scripts that the database lacks; concurrent callers wait for the first one."""
    wanted = schema_scripts()
    if not set(wanted) - _applied(connection):
        return
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        connection.execute("create schema if not exists ops")
        connection.execute(
            "create table if not exists ops.schema_version ("
            "script text primary key, applied_at timestamptz not null default clock_timestamp())"
        )
        missing = [name for name in wanted if name not in _applied(connection)]
        if missing:
            _make_reader(connection, settings.database.reader_password)
        for name in missing:
            script = (resources.files("marketlake.ledger") / "schema" / name).read_text(encoding="utf-8")
            connection.execute(script.encode())
            connection.execute("insert into ops.schema_version (script) values (%s)", [name])


def _applied(connection: psycopg.Connection) -> set[str]:
    row = connection.execute("select to_regclass('ops.schema_version') is not null").fetchone()
    if row is None or not row[0]:
        return set()
    return {str(script) for (script,) in connection.execute("select script from ops.schema_version").fetchall()}


def _make_reader(connection: psycopg.Connection, password: str) -> None:
    # A role belongs to the whole server, so another database's migration may be making it right now.
    role = sql.Identifier(READER_ROLE)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("create role {} login").format(role))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        pass
    try:
        with connection.transaction():
            connection.execute(sql.SQL("alter role {} login password {}").format(role, sql.Literal(password)))
    except psycopg.errors.InternalError:
        pass  # "tuple concurrently updated": that other migration sets it
