"""The lease of a lake table: one writer at a time, on a connection of its own, gone when its process dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from marketlake.embedded_postgres import ensure_running
from marketlake.errors import UnavailableError
from marketlake.ledger.database import lock_key, open_connection
from marketlake.settings import Settings

_log = logging.getLogger(__name__)
_ASK_EVERY_SECONDS = 0.2
_SAY_EVERY_SECONDS = 15.0


class Lease:
    """A held lease; `check` it before a commit that must not happen twice."""

    def __init__(self, connection: psycopg.Connection, table: str) -> None:
        self.table = table
        self._connection = connection

    def check(self) -> None:
        """Do nothing while the lease is held.

        Raises:
            UnavailableError: the connection that holds it is gone, and with it the lease.
        """
        try:
            self._connection.execute("select 1")
        except psycopg.OperationalError as error:
            raise UnavailableError(
                f"the lease of {self.table} was lost, its database connection broke ({_first_line(error)});"
                " nothing was written after that: run the same command again"
            ) from None


@contextmanager
def table_lease(settings: Settings, table: str, *, wait_seconds: float | None = None) -> Iterator[Lease]:
    """Hold the table's lease; wait for whoever has it, saying so, for at most `wait_seconds` (default: no limit).

    Raises:
        UnavailableError: it did not become free in time, or the database does not answer.
    """
    connection = open_connection(ensure_running(settings))
    try:
        connection.execute("select set_config('application_name', %s, false)", [f"marketlake lease of {table}"[:63]])
        _acquire(connection, table, wait_seconds)
        yield Lease(connection, table)
    finally:
        connection.close()


def _acquire(connection: psycopg.Connection, table: str, wait_seconds: float | None) -> None:
    key = lock_key(f"lease:{table}")
    started = time.monotonic()
    say_at = started + 1.0
    while True:
        row = connection.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
        if row is not None and row[0]:
            return
        waited = time.monotonic() - started
        if wait_seconds is not None and waited >= wait_seconds:
            raise UnavailableError(
                f"another process (database backend {_holder(connection, key)}) has held the lease of {table} for"
                f" {waited:.0f} s; wait for it to end, then run the same command again"
            )
        if time.monotonic() >= say_at:
            _log.info(
                "waiting for the lease of %s, held by database backend %s; %.0f s so far",
                table,
                _holder(connection, key),
                waited,
            )
            say_at += _SAY_EVERY_SECONDS
        time.sleep(_ASK_EVERY_SECONDS)


def _holder(connection: psycopg.Connection, key: int) -> str:
    row = connection.execute(
        "select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
        " and ((classid::bigint << 32) | objid::bigint) = %s"
        " and database = (select oid from pg_database where datname = current_database())",
        [key],
    ).fetchone()
    return str(row[0]) if row else "unknown"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["closed"])[0]
