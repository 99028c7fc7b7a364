"""The fetch tasks of a run's plan."""

from __future__ import annotations

import json
from collections.abc import Sequence

import psycopg
from psycopg.types.json import Jsonb

from marketlake.work import FetchTask, task_from_json, to_json


def save_tasks(connection: psycopg.Connection, run_id: str, tasks: Sequence[FetchTask]) -> None:
    """Replace the run's tasks by these, in one transaction; they keep their order."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("select 1 from ops.runs where run_id = %s for update", [run_id])
        cursor.execute("delete from ops.fetch_tasks where run_id = %s", [run_id])
        cursor.executemany(
            "insert into ops.fetch_tasks (run_id, task_id, position, exchange, dataset, task)"
            " values (%s, %s, %s, %s, %s, %s)",
            [
                (run_id, task.task_id, position, task.exchange, task.dataset, Jsonb(json.loads(to_json(task))))
                for position, task in enumerate(tasks)
            ],
        )


def tasks_of(
    connection: psycopg.Connection, run_id: str, *, exchange: str | None = None, dataset: str | None = None
) -> list[FetchTask]:
    """Return the run's tasks in the plan's order, of one exchange and dataset where they are named."""
    rows = connection.execute(
        "select task from ops.fetch_tasks where run_id = %(run_id)s"
        " and exchange = coalesce(%(exchange)s, exchange) and dataset = coalesce(%(dataset)s, dataset)"
        " order by position",
        {"run_id": run_id, "exchange": exchange, "dataset": dataset},
    ).fetchall()
    return [task_from_json(tree) for (tree,) in rows]
