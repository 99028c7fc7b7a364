"""What the ledger knows, in counts."""

from __future__ import annotations

from typing import Any

import psycopg

from marketlake.ledger import built_until, changes_unpublished, lake_market, newest_publication
from marketlake.recovery.sole_use import running_runs


def ledger_state(connection: psycopg.Connection) -> dict[str, Any]:
    """Return the lake's market, manifests and coverage by state, tables with incarnation, and what waits."""
    return {
        "market": lake_market(connection),
        "manifests": dict(_rows(connection, "select state, count(*) from ops.manifests group by state order by state")),
        "loads": _number(connection, "select count(*) from ops.loads where step = 'loaded'"),
        "markets": _number(connection, "select count(*) from ops.markets"),
        "coverage": [
            {"dataset": dataset, "state": state, "ranges": count}
            for dataset, state, count in _rows(
                connection, "select dataset, state, count(*) from ops.coverage group by 1, 2 order by 1, 2"
            )
        ],
        "tables": [
            {"table": table, "incarnation": number, "last_known_at": known_at}
            for table, number, known_at in _rows(
                connection, "select table_name, incarnation, last_known_at from ops.table_state order by table_name"
            )
        ],
        "changes_unpublished": len(changes_unpublished(connection)),
        "newest_publication": newest_publication(connection),
        "built_until": built_until(connection),
        "running": running_runs(connection),
    }


def _rows(connection: psycopg.Connection, query: str) -> list[Any]:
    return connection.execute(query.encode()).fetchall()


def _number(connection: psycopg.Connection, query: str) -> int:
    return int(_rows(connection, query)[0][0])
