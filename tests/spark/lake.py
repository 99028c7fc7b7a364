"""A lake of its own for a Spark test: land answers, load them by the real load, look at every layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from pyspark.sql import DataFrame, SparkSession

from marketlake import ledger
from marketlake.datasets import Dataset, dataset_named
from marketlake.datasets.current import current_rows_sql
from marketlake.lake.files import table_path
from marketlake.ledger import LoadRecord, Tile
from marketlake.settings import Settings
from marketlake.work import Manifest
from spark_jobs.bronze.load import load_waiting
from tests.landed import Landing


@dataclass
class SparkLake:
    """One lake: its settings, its ledger and the session that loads it."""

    spark: SparkSession
    settings: Settings
    connection: psycopg.Connection

    def landing(self, dataset: str = "ohlcv") -> Landing:
        """Return a landing area to put answers into."""
        return Landing(Path(self.settings.lake_root), dataset=dataset)

    def load(self, *manifests: tuple[Landing, Manifest] | Landing) -> list[LoadRecord]:
        """Seal what the landings hold, register it and load everything that waits."""
        for item in manifests:
            landing, manifest = item if isinstance(item, tuple) else (item, item.seal())
            ledger.register_manifest(self.connection, manifest, landing.path)
        return self.drain()

    def drain(self) -> list[LoadRecord]:
        """Load everything that waits."""
        rows = ledger.manifests_waiting(self.connection)
        return load_waiting(self.spark, self.settings, self.connection, rows)

    def table(self, name: str) -> DataFrame:
        """Return a table of the lake."""
        return self.spark.read.format("delta").load(table_path(self.settings.lake_root, name))

    def rows(self, dataset: str, *columns: str, order: str = "") -> list[tuple[Any, ...]]:
        """Return every revision, these columns, in the order of key, source and revision."""
        registered = dataset_named(dataset)
        frame = self.table(registered.table).orderBy(*(order.split() or [*registered.key, "source", "revision"]))
        return [tuple(row) for row in frame.select(*columns).collect()]

    def current(self, dataset: Dataset, *columns: str) -> list[tuple[Any, ...]]:
        """Return the current rows, these columns, by key."""
        self.table(dataset.table).createOrReplaceTempView("_bronze")
        query = (
            f"select {', '.join(columns)} from ({current_rows_sql(dataset, '_bronze')}) order by {dataset.time_column}"
        )
        return [tuple(row) for row in self.spark.sql(query).collect()]

    def tiles(self, dataset: str, symbol: str, timeframe: str) -> list[Tile]:
        """Return what the ledger knows of a market."""
        return ledger.coverage_of(self.connection, dataset, "binance", symbol, timeframe)

    def state(self, manifest: Manifest) -> tuple[str, str | None]:
        """Return a manifest's state and error."""
        row = ledger.registered_manifest(self.connection, manifest.manifest_id)
        assert row is not None
        return row.state, row.error
