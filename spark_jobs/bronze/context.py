"""What every step of a load needs, and what one load is."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from pyspark.sql import SparkSession

from marketlake import ledger
from marketlake.datasets import Dataset
from marketlake.lake.files import table_path
from marketlake.landing import LandingArea
from marketlake.ledger import ManifestRow, Outage
from marketlake.rules import RuleSet
from marketlake.settings import Settings
from marketlake.work import Manifest, hash_id
from spark_jobs.bronze.conform import CONFORMER_VERSION
from spark_jobs.lib.delta_tables import committed_load


@dataclass(frozen=True)
class LoadContext:
    """One session's tools for one dataset."""

    spark: SparkSession
    settings: Settings
    connection: psycopg.Connection
    dataset: Dataset
    rules: RuleSet
    calendar: tuple[Outage, ...] = ()

    @property
    def root(self) -> str:
        """The lake's storage root."""
        return self.settings.lake_root

    @property
    def area(self) -> LandingArea:
        """The landing area."""
        return LandingArea(self.root)


@dataclass(frozen=True)
class LoadTask:
    """One manifest to load. The load id comes from the bytes, never from the run or the clock (design, rule 3)."""

    manifest: Manifest
    manifest_id: str
    files_id: str
    kind: str
    load_id: str

    @property
    def is_retry(self) -> bool:
        """Whether its rows were judged before."""
        return self.kind.startswith("retry")

    @property
    def name(self) -> str:
        """The load in messages."""
        return f"{self.manifest.run_id} ({self.manifest.exchange} {self.manifest.dataset})"


def load_task(context: LoadContext, row: ManifestRow, manifest: Manifest) -> LoadTask:
    """Return the task of a registered manifest; one that was judged before is a retry.

    A load whose commit is there without its row in the ledger is finished under its own id, whatever stopped it.
    """
    files_id = ledger.files_id_of([file.sha256 for file in manifest.files], row.manifest_id)
    task = _task(context, row, manifest, files_id, manifest.kind)
    recorded = ledger.load_named(context.connection, task.load_id, "loaded")
    if recorded is None and row.error and not _is_committed(context, task):
        return _task(context, row, manifest, files_id, "retry")
    if recorded is None:
        return task
    # Judged again on request; or another run has loaded the same bytes, and this one looks at them once more.
    kind = "retry" if recorded.manifest_id == row.manifest_id else "force"
    return _task(context, row, manifest, files_id, kind)


def _is_committed(context: LoadContext, task: LoadTask) -> bool:
    return committed_load(table_path(context.root, context.dataset.table), task.load_id) is not None


def _task(context: LoadContext, row: ManifestRow, manifest: Manifest, files_id: str, kind: str) -> LoadTask:
    table = context.dataset.table
    numbered = ledger.next_kind(context.connection, table, files_id, kind)
    incarnation = ledger.incarnation(context.connection, table)
    load_id = hash_id(table, str(incarnation), files_id, CONFORMER_VERSION, context.rules.version, numbered)
    return LoadTask(manifest, row.manifest_id, files_id, numbered, load_id)
