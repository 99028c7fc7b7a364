"""The buttons on a task in the Airflow UI: its data docs, its dead-letter rows, its coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from marketlake_airflow.run_id import library_run_id

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

SITE_PREFIX = "/marketlake"


class DataDocsLink(BaseOperatorLink):
    """Opens the data docs: what the audit of the loads found."""

    name = "Data docs"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the site's address on this web server."""
        return f"{SITE_PREFIX}/data_docs/"


class DeadLetterLink(BaseOperatorLink):
    """Opens the rejected rows of the run, with the query that finds them."""

    name = "DLQ"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page of this run."""
        return f"{SITE_PREFIX}/dlq?run={_run(ti_key)}"


class CoverageLink(BaseOperatorLink):
    """Opens what is there and what is missing, by market."""

    name = "Coverage"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page, narrowed to the task's dataset where it has one."""
        dataset = operator.task_id.removeprefix("ingest_") if operator.task_id.startswith("ingest_") else ""
        return f"{SITE_PREFIX}/coverage" + (f"?dataset={quote(dataset)}" if dataset else "")


def _run(key: TaskInstanceKey) -> str:
    return quote(library_run_id(key.dag_id, key.run_id), safe="")
