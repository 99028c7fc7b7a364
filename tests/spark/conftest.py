"""One Spark session for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from marketlake import ledger
from marketlake.embedded_postgres import PostgresAddress
from marketlake.settings import load_settings
from spark_jobs.lib.session import build_session
from tests.spark.lake import SparkLake


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session with the settings of the jobs."""
    home = tmp_path_factory.mktemp("spark-home")
    session = build_session("tests", load_settings(environ={"MARKETLAKE_HOME": str(home)}))
    # Tests provoke refusals on purpose; each would print a hundred lines.
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, postgres: PostgresAddress) -> Iterator[SparkLake]:
    """An empty lake with a ledger of its own."""
    settings = load_settings()
    with ledger.connect(settings) as connection:
        yield SparkLake(spark, settings, connection)
    spark.catalog.clearCache()


@pytest.fixture(params=["few", "many"])
def on_both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test twice: with few rows read on the driver, and with all of them read in the executors."""
    if request.param == "many":
        monkeypatch.setattr("spark_jobs.bronze.conform.FEW_BYTES", -1)
        monkeypatch.setattr("spark_jobs.bronze.reference.FEW_ROWS", -1)
