"""What every step of a load needs, and what one load is."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from pyspark.sql import SparkSession

from marketlake import ledger
from marketlake.datasets import Dataset
from marketlake.lake.files import table_path
from marketlake.landing import LandingArea
from marketlake.ledger import Outage
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
class WaitingManifest:
    """A registered manifest whose files are what was landed."""

    manifest_id: str
    manifest: Manifest

    @property
    def name(self) -> str:
        """The manifest in messages."""
        return f"{self.manifest.run_id} ({self.manifest.exchange} {self.manifest.dataset})"


@dataclass(frozen=True)
class LoadTask:
    """One load of one manifest. Its id comes from the bytes, never from the run or the clock (design, rule 3)."""

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
        return WaitingManifest(self.manifest_id, self.manifest).name


def load_task(context: LoadContext, waiting: WaitingManifest) -> LoadTask | None:
    """Return the load of a manifest, None where another process judged it meanwhile. Hold the table's lease.

    A load whose commit is there without its row in the ledger is finished under its own id, whatever stopped it. A
    manifest that was judged before is a retry, also where a crash and then other rules left its commit under another
    id; bytes that another manifest brought before are looked at once more.
    """
    row = ledger.registered_manifest(context.connection, waiting.manifest_id)
    if row is None or row.state != "waiting":
        return None
    task = _task(context, waiting, waiting.manifest.kind)
    recorded = ledger.load_named(context.connection, task.load_id, "loaded")
    if recorded is not None:
        return _task(context, waiting, "retry" if recorded.manifest_id == row.manifest_id else "force")
    committed = committed_load(table_path(context.root, context.dataset.table), task.load_id)
    if committed is not None:
        is_own = committed.manifest_id in (row.manifest_id, None)
        return task if is_own else _task(context, waiting, "force")
    if row.error or ledger.has_unfinished_load(context.connection, row.manifest_id, except_load=task.load_id):
        return _task(context, waiting, "retry")
    return task


def _task(context: LoadContext, waiting: WaitingManifest, kind: str) -> LoadTask:
    table, manifest, quality = context.dataset.table, waiting.manifest, context.settings.quality
    files_id = ledger.files_id_of([file.sha256 for file in manifest.files], waiting.manifest_id)
    numbered = ledger.next_kind(context.connection, table, files_id, kind)
    # What decides which markets are refused decides which rows come into the table.
    limits = f"{quality.refuse_share} {quality.refuse_from_rows}"
    incarnation = ledger.incarnation(context.connection, table)
    versions = (CONFORMER_VERSION, context.rules.version, limits)
    load_id = hash_id(table, str(incarnation), files_id, *versions, numbered)
    return LoadTask(manifest, waiting.manifest_id, files_id, numbered, load_id)
