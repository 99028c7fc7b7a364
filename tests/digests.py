"""Digests of what a lake holds, layer by layer: two lakes with equal digests hold the same rows.

Left out of every row are the columns that tell when and by which load it came, because a repeated run may differ there
and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from deltalake import DeltaTable
from psycopg import sql

# When and by which load a row came; everything else must be equal.
LEFT_OUT = frozenset(
    {"known_at", "received_at", "load_id", "refreshed_at", "first_seen_at", "last_seen_at", "updated_at", "rejected_at"}
    | {"seen_at", "recorded_at", "published_at"}
)


def delta_digests(
    root: Path, *, folder: str = "bronze", without: frozenset[str] = frozenset()
) -> dict[str, tuple[int, str]]:
    """Return rows and digest of each Delta table below `<root>/<folder>`, by name; more columns may be left out."""
    found = {}
    for log in sorted((root / folder).glob("*/_delta_log")):
        table = log.parent
        found[f"delta.{folder}.{table.name}"] = _delta_digest(table, LEFT_OUT | without)
    return found


def postgres_digests(
    connection: psycopg.Connection[Any], schemas: tuple[str, ...], *, without: frozenset[str] = frozenset()
) -> dict[str, tuple[int, str]]:
    """Return rows and digest of each table of these schemas, by name; more columns may be left out."""
    tables = connection.execute(
        "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = any(%s) and c.relkind in ('r', 'p', 'v') and not c.relispartition order by 1, 2",
        [list(schemas)],
    ).fetchall()
    left_out = LEFT_OUT | without
    return {f"{schema}.{table}": _postgres_digest(connection, schema, table, left_out) for schema, table in tables}


def dlq_file_records(folder: Path) -> list[str]:
    """Return the records of all DLQ files, each as canonical JSON with its error and context, sorted."""
    found = []
    for path in sorted(folder.glob("*.json")):
        tree = json.loads(path.read_text(encoding="utf-8"))
        for record in tree["records"]:
            kept = {name: value for name, value in record.items() if name not in LEFT_OUT}
            found.append(json.dumps([tree["error"], tree["context"], kept], sort_keys=True))
    return sorted(found)


def _delta_digest(table: Path, left_out: frozenset[str]) -> tuple[int, str]:
    rows = DeltaTable(str(table)).to_pyarrow_dataset()
    # A DLQ row's partition is the day of its load, which is an instant of recording too.
    left_out = left_out | ({"partition_date"} if table.name.endswith("_dlq") else set())
    names = sorted(name for name in rows.schema.names if name not in left_out)
    columns = ", ".join(f'"{name}"' for name in names)
    with duckdb.connect() as database:
        database.execute("set timezone = 'UTC'")
        database.register("t", rows)
        lines = database.execute(f"select md5(row({columns})::text) from t").fetchall()
    return _joined([line[0] for line in lines])


def _postgres_digest(
    connection: psycopg.Connection[Any], schema: str, table: str, left_out: frozenset[str]
) -> tuple[int, str]:
    names = connection.execute(
        "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
        " and not column_name = any(%s) order by column_name",
        [schema, table, list(left_out)],
    ).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in names)
    query = sql.SQL("select md5(row({})::text) from {}").format(columns, sql.Identifier(schema, table))
    return _joined([line[0] for line in connection.execute(query).fetchall()])


def _joined(lines: list[str]) -> tuple[int, str]:
    return len(lines), hashlib.md5("".join(sorted(lines)).encode(), usedforsecurity=False).hexdigest()
