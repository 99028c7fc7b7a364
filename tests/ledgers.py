"""What a ledger says, as plain rows: two ledgers with equal content plan, load and publish alike."""

from __future__ import annotations

from typing import Any

import psycopg

# Everything but when a row was written and under which id Postgres keeps it.
_QUERIES = {
    "coverage": "select dataset, exchange, symbol, timeframe, range_start, range_end, state, source, cause, attempts,"
    " attempt_days, retry_at, load_id, run_id from ops.coverage order by 1, 2, 3, 4, 5",
    "watermarks": "select dataset, exchange, symbol, timeframe, high_watermark_at, load_id from ops.markets"
    " order by 1, 2, 3, 4",
    "facts": "select dataset, exchange, symbol, timeframe, range_start, range_end, state, source, cause, attempt_day,"
    " retry_at, settles_after, load_id, run_id, recorded_at::date from ops.coverage_facts order by fact_id",
    "loads": "select load_id, step, table_name, manifest_id, files_id, run_id, kind, typed_rows, collapsed_rows,"
    " appended_rows, agreed_rows, retracted_rows, rejected_rows, flagged_rows, delta_version, known_at, details"
    " from ops.loads order by 1, 2",
    "verdicts": "select * from ops.market_verdicts order by load_id, exchange, symbol",
    "agreements": "select * from ops.agreements order by 1, 2, 3, 4, 5, 6",
    "disagreements": "select * from ops.source_disagreements order by 1, 2, 3, 4, 5, 6, 7, 8",
    "changes": "select load_id, run_id, dataset, exchange, symbol, timeframe, range_start, range_end from ops.changes"
    " order by 1, 3, 4, 5, 6, 7",
    "manifests": "select manifest_id, run_id, exchange, dataset, kind, now_at, sealed_at, answers, state, load_id,"
    " error from ops.manifests order by 1",
    "archives": "select exchange, path, dataset, symbol, timeframe, period_start, period_end, bytes, published_sha256,"
    " computed_sha256, loaded_sha256, status, row_count, first_at, last_at, load_id from ops.archive_files"
    " order by 1, 2",
    "incarnations": "select table_name, incarnation from ops.table_state where incarnation > 1 order by 1",
    "lake": "select market from ops.lake",
}


def ledger_content(connection: psycopg.Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the ledger says of the lake, by subject."""
    return {name: connection.execute(query.encode()).fetchall() for name, query in _QUERIES.items()}
