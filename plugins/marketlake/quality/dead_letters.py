"""The dead-letter rows: what was rejected, why, and what was done with it since (QUA-11)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
import pyarrow as pa

from marketlake.datasets import DATASETS, Dataset
from marketlake.errors import UnknownNameError, one_of
from marketlake.lake.files import files_of, open_table, table_names
from marketlake.lake.sql import dataset_of_files
from marketlake.ledger import MarketFilter

_SHOWN = (
    "reject_id", "dataset", "exchange", "symbol", "timeframe", "time", "dlq_reasons", "error", "raw_payload",
    "source", "source_ref", "rule_version", "load_id", "status", "attempts", "first_seen_at", "last_seen_at",
)  # fmt: skip


@dataclass(frozen=True)
class DeadLetterFilter:
    """Which rows to list; None means all. The window is about the row's own time; rows without one always fit."""

    market: MarketFilter = field(default_factory=MarketFilter)
    reason: str | None = None
    run_id: str | None = None
    limit: int | None = None


def dead_letters(
    connection: psycopg.Connection, root: str, wanted: DeadLetterFilter | None = None
) -> list[dict[str, Any]]:
    """Return the rejected rows, newest first, each once with all that `_SHOWN` names.

    A row that was rejected again has the first and last instant and the number of loads in `attempts`; `status` is
    `new`, `replayed` or `discarded`.
    """
    wanted = wanted or DeadLetterFilter()
    actions = _actions(connection)
    load_ids = None if wanted.run_id is None else _loads_of(connection, wanted.run_id)
    found: list[dict[str, Any]] = []
    for dataset in DATASETS.values():
        if wanted.market.dataset in (None, dataset.name) and dataset.dlq_table in table_names(root):
            found += _rows(root, dataset, wanted, load_ids)
    for row in found:
        row["status"] = actions.get(row["reject_id"], "new")
    found.sort(key=lambda row: (row["last_seen_at"] is None, row["last_seen_at"]), reverse=True)
    return found[: wanted.limit] if wanted.limit else found


def reason_counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return how often each reason stands in these rows, most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        for reason in row["dlq_reasons"] or ():
            counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def check_reason(rows: list[dict[str, Any]], reason: str | None) -> None:
    """Do nothing if the reason is one that occurs, or none is wanted.

    Raises:
        UnknownNameError: no row has it; the text names those there are.
    """
    known = reason_counts(rows)
    if reason is not None and known and reason not in known:
        raise UnknownNameError(one_of("reason", reason, known))


def _rows(root: str, dataset: Dataset, wanted: DeadLetterFilter, load_ids: set[str] | None) -> list[dict[str, Any]]:
    import duckdb

    table = dataset_of_files(files_of(open_table(root, dataset.dlq_table), dataset.dlq_table, []))
    names = set(table.schema.names)
    seen = next((name for name in ("seen_at", "received_at") if name in names), "null")
    time = dataset.time_column if dataset.time_column in names else "null"
    shown = {name: name if name in names else "null" for name in ("symbol", "timeframe", "error", "source")}
    tests, parameters = _tests(dataset, wanted, shown, time)
    query = (
        f"select reject_id, '{dataset.name}' as dataset, any_value(exchange) as exchange,"
        f" any_value({shown['symbol']}) as symbol, any_value({shown['timeframe']}) as timeframe,"
        f" any_value({time}) as time, arg_max(dlq_reasons, {seen}) as dlq_reasons,"
        f" any_value({shown['error']}) as error,"
        f" any_value(raw_payload) as raw_payload, any_value({shown['source']}) as source,"
        f" any_value(source_ref) as source_ref, arg_max(rule_version, {seen}) as rule_version,"
        f" arg_max(load_id, {seen}) as load_id, 'new' as status, count(distinct load_id) as attempts,"
        f" min({seen}) as first_seen_at, max({seen}) as last_seen_at, list(distinct load_id) as _loads"
        f" from _dlq where {' and '.join(tests)} group by reject_id"
    )
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("_dlq", table)
        rows: pa.Table = connection.sql(query, params=parameters).to_arrow_table()
    listed: list[dict[str, Any]] = rows.to_pylist()
    kept = [row for row in listed if load_ids is None or load_ids & set(row["_loads"])]
    return [{name: row[name] for name in _SHOWN} for row in kept]


def _tests(dataset: Dataset, wanted: DeadLetterFilter, shown: dict[str, str], time: str) -> tuple[list[str], list[Any]]:
    tests, parameters = ["true"], list[Any]()
    window = wanted.market.window
    for column, value in wanted.market.named().items():
        if column != "dataset":
            tests.append(f"{shown.get(column, column)} = ?")
            parameters.append(value)
    if wanted.reason is not None:
        tests.append("list_contains(dlq_reasons, ?)")
        parameters.append(wanted.reason)
    if window is not None and time != "null":
        tests.append(f"({time} is null or ({time} >= ? and {time} < ?))")
        parameters += [window.start, window.end]
    return tests, parameters


def _actions(connection: psycopg.Connection) -> dict[str, str]:
    rows = connection.execute(
        "select distinct on (reject_id) reject_id, action from ops.dlq_actions where has_effect"
        " order by reject_id, acted_at desc"
    ).fetchall()
    return {str(reject_id): str(action) for reject_id, action in rows}


def _loads_of(connection: psycopg.Connection, run_id: str) -> set[str]:
    rows = connection.execute("select distinct load_id from ops.loads where run_id = %s", [run_id]).fetchall()
    return {str(load_id) for (load_id,) in rows}
