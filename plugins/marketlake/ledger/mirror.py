"""The ledger's mirror in the lake: `control.*` Delta tables for readers without Postgres (ARCHITECTURE, rule 8)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

_INSTANT = pa.timestamp("us", tz="UTC")
_DIGEST = "marketlake.digest"
_ARROW_TYPES = {
    "text": pa.string(),
    "timestamptz": _INSTANT,
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float8": pa.float64(),
    "bool": pa.bool_(),
    "numeric": pa.string(),  # exact, whatever its scale
    "jsonb": pa.string(),
    "_date": pa.list_(pa.date32()),
}


@dataclass(frozen=True)
class _Mirrored:
    table: str
    query: str
    partition_by: tuple[str, ...]
    doc: str


_TABLES = (
    _Mirrored(
        "coverage",
        "select dataset, exchange, symbol, timeframe, range_start, range_end, state, source, cause, attempts,"
        " attempt_days, retry_at, load_id, run_id, updated_at from ops.coverage"
        " order by dataset, exchange, symbol, timeframe, range_start",
        ("dataset",),
        "What is known about each range of each market.",
    ),
    _Mirrored(
        "loads",
        "select load_id, step, table_name, dataset, exchange, manifest_id, run_id, kind, typed_rows, collapsed_rows,"
        " appended_rows, agreed_rows, retracted_rows, rejected_rows, flagged_rows, delta_version, known_at, seconds,"
        " details, recorded_at from ops.loads order by dataset, recorded_at, load_id, step",
        ("dataset",),
        "What each load did, by step.",
    ),
    _Mirrored(
        "instruments",
        "select exchange, symbol, exchange_symbol, market_type, base_asset, quote_asset, margin_asset, price_tick,"
        " amount_step, contract_multiplier, funding_interval_hours, listed_at, delisted_at, valid_from, valid_to"
        " from ops.instruments order by exchange, symbol, valid_from",
        (),
        "The markets by date.",
    ),
    _Mirrored(
        "archive_files",
        "select exchange, path, dataset, symbol, exchange_symbol, timeframe, period_start, period_end, bytes,"
        " published_sha256, computed_sha256, loaded_sha256, status, row_count, first_at, last_at, attempts, checked_at,"
        " loaded_at, load_id, error from ops.archive_files order by exchange, path",
        (),
        "What was asked of the exchanges' archives, and what came of it.",
    ),
    _Mirrored(
        "source_disagreements",
        "select dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value,"
        " chosen_source, load_id, found_at from ops.source_disagreements"
        " order by dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value",
        (),
        "Where two sources of one exchange differ.",
    ),
    _Mirrored(
        "ingest_watermarks",
        "select dataset, exchange, symbol, timeframe, high_watermark_at, last_open_time, load_id, updated_at"
        " from ops.ingest_watermarks order by dataset, exchange, symbol, timeframe",
        (),
        "Everything closed before high_watermark_at is settled.",
    ),
    _Mirrored(
        "coverage_gaps",
        "select dataset, exchange, symbol, timeframe, gap_start, gap_end, missing_count, cause, status, detected_at,"
        " repaired_at, evidence from ops.coverage_gaps order by dataset, exchange, symbol, timeframe, gap_start",
        (),
        "Each hole that was ever found: open, repairing, closed or unfillable.",
    ),
)


def mirror(connection: psycopg.Connection, root: str | Path) -> dict[str, int]:
    """Write the ledger's tables to `<root>/control/`; return the rows of each table that was written anew.

    Each table is replaced in one Delta commit, and only when its content differs from that of its newest version.
    """
    written = {}
    # One snapshot, so that the tables agree with each other.
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        contents = [(mirrored, _read(connection, mirrored.query)) for mirrored in _TABLES]
    for mirrored, content in contents:
        if _replace(f"{str(root).rstrip('/')}/control/{mirrored.table}", mirrored, content):
            written[f"control.{mirrored.table}"] = content.num_rows
    return written


def _read(connection: psycopg.Connection, query: str) -> pa.Table:
    cursor = connection.execute(query.encode())
    columns = [(item.name, _arrow_type(connection, item.type_code)) for item in cursor.description or ()]
    rows = cursor.fetchall()
    arrays = [
        pa.array([_plain(row[place], kind) for row in rows], type=kind) for place, (_, kind) in enumerate(columns)
    ]
    fields = [pa.field(name, kind) for name, kind in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _arrow_type(connection: psycopg.Connection, oid: int) -> pa.DataType:
    info = connection.adapters.types.get(oid)
    name = info.name if info is not None else ""
    if info is not None and oid == info.array_oid:
        name = f"_{name}"
    return _ARROW_TYPES[name]


def _plain(value: Any, kind: pa.DataType) -> Any:
    if value is None or not pa.types.is_string(kind) or isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def _replace(path: str, mirrored: _Mirrored, content: pa.Table) -> bool:
    digest = _digest(content)
    try:
        newest: Sequence[dict[str, Any]] = DeltaTable(path).history(limit=1)
    except TableNotFoundError:
        newest = ()
    if newest and newest[0].get(_DIGEST) == digest:
        return False
    if "://" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(
        path,
        content,
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=list(mirrored.partition_by) or None,
        description=mirrored.doc,
        commit_properties=CommitProperties(custom_metadata={_DIGEST: digest}),
    )
    return True


def _digest(content: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()
