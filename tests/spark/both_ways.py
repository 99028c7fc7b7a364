"""Two lakes side by side: one loads in bulk what it can, the other compares every row; what each then holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pyspark.sql import SparkSession

from marketlake import ledger
from marketlake.datasets import dataset_named
from marketlake.embedded_postgres import PostgresAddress
from marketlake.lake.files import table_path
from marketlake.ledger import ArchiveFile, LoadRecord
from marketlake.settings import load_settings
from marketlake.work import Manifest, Market
from spark_jobs.bronze import load
from tests.databases import environment_of, fresh_database
from tests.digests import dlq_file_records
from tests.landed import NOW, Landing, zip_of
from tests.spark.bronze.test_reloads import Killed, kill_at
from tests.spark.lake import SparkLake

# The commit's own stamps; everything else must be equal.
_STAMPS = {"load_id", "known_at", "seen_at"}
_QUERIES = {
    "loads": "select step, kind, typed_rows, collapsed_rows, appended_rows, agreed_rows, retracted_rows, rejected_rows,"
    " flagged_rows, details - 'path' - 'data_docs' from ops.loads order by recorded_at",
    "verdicts": "select symbol, received_rows, rejected_rows, is_refused, reasons from ops.market_verdicts",
    "coverage": "select symbol, timeframe, range_start, range_end, state, source, cause, attempts from ops.coverage",
    "changes": "select symbol, timeframe, range_start, range_end from ops.changes",
    "archives": "select path, loaded_sha256 = computed_sha256, status, row_count, first_at, last_at"
    " from ops.archive_files",
}


@dataclass
class BothWays:
    """The two lakes."""

    bulk: SparkLake
    plain: SparkLake
    patch: pytest.MonkeyPatch

    def load(
        self, put: Callable[[Landing], None], *, killed_at: str | None = None, **sealing: Any
    ) -> tuple[LoadRecord, LoadRecord]:
        """Load the same answers into both; return what was recorded.

        The bulk one dies at the crash point, where one is named, and is repeated.
        """
        with self.patch.context() as patch:
            patch.setattr("spark_jobs.bronze.conform.FEW_BYTES", -1)  # one file is enough
            if killed_at is not None:
                self._load_and_die(put, sealing, killed_at)
            (in_bulk,) = self.bulk.drain() if killed_at else self._load(self.bulk, put, sealing)
        with self.patch.context() as patch:
            patch.setattr(load, "why_not_in_bulk", lambda manifest: "this lake compares")
            (compared,) = self._load(self.plain, put, sealing)
        return in_bulk, compared

    def assert_equal(self, dataset: str = "ohlcv") -> None:
        """Assert that rows, dead letters, their files and the ledger are equal."""
        held, expected = self.held(self.bulk, dataset), self.held(self.plain, dataset)
        for name in expected:
            assert held[name] == expected[name], name

    def held(self, lake: SparkLake, dataset: str = "ohlcv") -> dict[str, Any]:
        """Return everything that a load leaves, without the stamps of its commit."""
        registered = dataset_named(dataset)
        orders = {
            registered.table: [*registered.key, "source", "revision"],
            registered.dlq_table: ["reject_id"],
        }
        tables = {name: _rows(lake, name, order) for name, order in orders.items()}
        rows = {name: sorted(map(repr, lake.connection.execute(query).fetchall())) for name, query in _QUERIES.items()}
        return {**tables, **rows, "files": dlq_file_records(lake.settings.dlq_folder)}

    def _load_and_die(self, put: Callable[[Landing], None], sealing: dict[str, Any], point: str) -> None:
        with self.patch.context() as patch:
            kill_at(patch, point)
            with pytest.raises(Killed):
                self._load(self.bulk, put, sealing)

    def _load(self, lake: SparkLake, put: Callable[[Landing], None], sealing: dict[str, Any]) -> list[LoadRecord]:
        landing = lake.landing()
        landing.sealed = len(lake.connection.execute("select 1 from ops.manifests").fetchall())
        put(landing)
        manifest = landing.seal(**sealing)
        _record_archives(lake, manifest)
        return lake.load((landing, manifest))


def _rows(lake: SparkLake, name: str, order: list[str]) -> pa.Table | None:
    """Return a table's rows in order, without the commit's stamps; None where there is no such table."""
    try:
        table = DeltaTable(table_path(lake.settings.lake_root, name))
    except TableNotFoundError:
        return None
    left_out = _STAMPS | ({"partition_date"} if name.endswith("_dlq") else set())
    columns = sorted(field.name for field in table.schema().fields if field.name not in left_out)
    rows = table.to_pyarrow_table(columns=columns)
    return rows.sort_by([(column, "ascending") for column in order]).combine_chunks()


def paths(*records: LoadRecord) -> list[str]:
    """Return how the loads were made, `bulk` or `plain`."""
    return [str(record.details["path"]) for record in records]


@contextmanager
def two_lakes(
    spark: SparkSession, server: PostgresAddress, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[BothWays]:
    """Yield two empty lakes."""
    with fresh_database(server) as first, fresh_database(server) as second:
        lakes = []
        for address, name in ((first, "bulk"), (second, "plain")):
            settings = load_settings(environ={"MARKETLAKE_HOME": str(folder / name), **environment_of(address)})
            lakes.append((settings, ledger.connect(settings)))
        with lakes[0][1] as one, lakes[1][1] as other:
            yield BothWays(SparkLake(spark, lakes[0][0], one), SparkLake(spark, lakes[1][0], other), patch)


def put_archive(
    landing: Landing, base: str, rows: list[list[Any]], timeframe: str = "1h", day: str = "2024-01-01", **more: Any
) -> None:
    """Land the rows as the daily archive of `base` in USDT."""
    symbol = f"{base}USDT"
    name = f"{symbol}-{timeframe}-{day}"
    path = f"data/spot/daily/klines/{symbol}/{timeframe}/{name}.zip"
    landing.root.mkdir(parents=True, exist_ok=True)
    archive = zip_of(landing.root, name, [",".join(map(str, row)) for row in rows])
    landing.archive(archive, path, market=Market("spot", f"{base}/USDT", symbol), timeframe=timeframe, **more)


def _record_archives(lake: SparkLake, manifest: Manifest) -> None:
    for answer in manifest.answers:
        for file in answer.files:
            window = answer.window
            ledger.record_archive(
                lake.connection,
                ArchiveFile("binance", file.source_ref, manifest.dataset, answer.market.symbol,
                            answer.market.exchange_symbol, answer.timeframe, window.start, window.end, "verified",
                            published_sha256=file.sha256, computed_sha256=file.sha256, checked_at=NOW),
            )  # fmt: skip
