"""A million candles from bronze to Postgres: into an empty range, and again over equal rows."""

from __future__ import annotations

from typing import Any

import psycopg

from marketlake.publish.step import publish_changes
from tests.bench.figures import Figure, median, seconds_of
from tests.world import World

TIMES = 3
_UPSERT = (
    "insert into public.bare as held select * from incoming on conflict (symbol, timeframe, open_time, exchange)"
    " do update set close = excluded.close where held is distinct from excluded"
)


def measure(world: World, *, run_id: str) -> list[Figure]:
    """Return the figures of publishing what the run loaded, each beside a COPY of the same rows in turn."""
    ours, copied, again, upserted, written = [], [], [], [], 0
    with world.database() as connection:
        rows = _count(connection)
        data = _binary(connection)
        connection.execute("create table public.bare (like bronze.ohlcv including all)")
        for _ in range(TIMES):
            connection.execute("truncate bronze.ohlcv")
            ours.append(_publish(connection, world, run_id, rows))
            connection.execute("truncate public.bare")
            copied.append(seconds_of(lambda: _copy(connection, data)))
            again.append(_publish(connection, world, run_id, 0))
            written += _count(connection) - rows
            upserted.append(seconds_of(lambda: _upsert(connection, data)))
        connection.execute("drop table public.bare")
    millions = f"{rows / 1e6:.2f} M"
    return [
        Figure(
            f"publish {millions} candles, rows/s / bare COPY of the same rows into such a table with its key",
            median(copied) / median(ours),
            0.7,
            "higher",
            f"{median(ours):.1f} s, COPY {median(copied):.1f} s; medians of {TIMES}",
        ),
        Figure(
            f"publish {millions} equal candles again, s / COPY to a temporary table and a guarded upsert",
            median(again) / median(upserted),
            None,
            "lower",
            f"{median(again):.1f} s, upsert {median(upserted):.1f} s; {written} rows written",
        ),
    ]


def _publish(connection: psycopg.Connection[Any], world: World, run_id: str, rows: int) -> float:
    """Publish all that was loaded as if it had not been; expect so many rows written, and return the seconds."""
    connection.execute("update ops.changes set publication_id = null")
    connection.execute("checkpoint")
    done = publish_changes(connection, world.settings, run_id=run_id)
    assert done["rows_written"] == rows
    return float(done["seconds"])


def _count(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("select count(*) from bronze.ohlcv").fetchone()
    assert row is not None
    return int(row[0])


def _binary(connection: psycopg.Connection[Any]) -> list[bytes]:
    with connection.cursor() as cursor, cursor.copy("copy bronze.ohlcv to stdout (format binary)") as out:
        return [bytes(block) for block in out]


def _send(cursor: psycopg.Cursor[Any], data: list[bytes], table: str) -> None:
    with cursor.copy(f"copy {table} from stdin (format binary)") as into:  # type: ignore[arg-type]  # one of two names
        for block in data:
            into.write(block)


def _copy(connection: psycopg.Connection[Any], data: list[bytes]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        _send(cursor, data, "public.bare")


def _upsert(connection: psycopg.Connection[Any], data: list[bytes]) -> None:
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("create temporary table incoming (like public.bare) on commit drop")
        _send(cursor, data, "incoming")
        cursor.execute(_UPSERT)
        assert cursor.rowcount == 0
