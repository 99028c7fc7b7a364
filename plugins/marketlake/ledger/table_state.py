"""Per lake table: its incarnation, raised by a restore, and the known_at instants that were given out."""

from __future__ import annotations

from datetime import datetime

import psycopg

_INSERT = "insert into ops.table_state (table_name) values (%s) on conflict do nothing"


def incarnation(connection: psycopg.Connection, table: str) -> int:
    """Return the table's incarnation, 1 before any restore."""
    row = connection.execute("select incarnation from ops.table_state where table_name = %s", [table]).fetchone()
    return int(row[0]) if row else 1


def raise_incarnation(connection: psycopg.Connection, table: str) -> int:
    """Count a restore, so that loads which it undid get new ids; return the new incarnation."""
    with connection.transaction():
        connection.execute(_INSERT, [table])
        row = connection.execute(
            "update ops.table_state set incarnation = incarnation + 1 where table_name = %s returning incarnation",
            [table],
        ).fetchone()
    return int(row[0]) if row else 1


def next_known_at(connection: psycopg.Connection, table: str, now: datetime) -> datetime:
    """Return `now`, or a microsecond after the last instant given out for the table if that is later; strictly rising.

    Call it under the table's lease. An instant that is not used leaves no trace but a step.
    """
    with connection.transaction():
        connection.execute(_INSERT, [table])
        row = connection.execute(
            "update ops.table_state"
            " set last_known_at = greatest(%s, last_known_at + interval '1 microsecond')"
            " where table_name = %s returning last_known_at",
            [now, table],
        ).fetchone()
    if row is None:
        raise RuntimeError(f"the state of {table} vanished")
    known_at: datetime = row[0]
    return known_at
