"""The Spark session of every job: what a start costs is mostly decided here."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pyspark.sql import SparkSession

from marketlake.datasets.columns import MAX_ROWS_PER_FILE, MAX_ROWS_PER_ROW_GROUP
from marketlake.java import REPOSITORY, java_home
from marketlake.settings import Settings
from marketlake.spark_submit import driver_class_path, driver_java_options

_LOCAL_CORES = 2
# Compiling a query costs tenths of a second, interpreting it microseconds a row: few rows are interpreted, in one part.
# NO_CODEGEN is meant for the tests of Spark itself, and gives the same rows; the Spark tests here run both ways.
_FOR_FEW_ROWS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}


def session_settings(settings: Settings) -> dict[str, str]:
    """Return the session's settings; those that a running JVM cannot take any more belong to the command line."""
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # The default of 50 partitions for a table's log is the largest single cost of a small job.
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.shuffle.partitions": str(_LOCAL_CORES if settings.spark.master.startswith("local") else 8),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.files.maxRecordsPerFile": str(MAX_ROWS_PER_FILE),
        "spark.hadoop.parquet.block.row.count.limit": str(MAX_ROWS_PER_ROW_GROUP),
        "spark.databricks.delta.optimize.maxFileSize": str(32 << 20),
        "spark.databricks.delta.optimize.minFileSize": str(16 << 20),
        # Instants stay microseconds for every reader; the default writes a type that few others understand.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }


def build_session(name: str, settings: Settings) -> SparkSession:
    """Return the session of this process, made at the first call.

    Started by spark-submit, class path and JVM flags are there already; in-process (tests, a notebook) they are added.
    """
    os.environ["TZ"] = "UTC"
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"marketlake {name}")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        home = java_home()
        os.environ["JAVA_HOME"] = str(home)
        # Python workers are started with this environment and import the readers.
        paths = [str(REPOSITORY / "plugins"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        builder = (
            builder.master(settings.spark.master)
            .config("spark.driver.memory", settings.spark.driver_memory)
            .config("spark.driver.extraClassPath", driver_class_path())
            .config("spark.driver.extraJavaOptions", shlex.join(driver_java_options(home)))
        )
    for key, value in session_settings(settings).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


@contextmanager
def tuned_for_few_rows(spark: SparkSession) -> Iterator[None]:
    """Plan what runs inside for few rows: half the time of a load of a day, a multiple for a million rows."""
    before = {key: spark.conf.get(key) for key in _FOR_FEW_ROWS}
    _configure(spark, _FOR_FEW_ROWS)
    try:
        yield
    finally:
        _configure(spark, before)


def _configure(spark: SparkSession, values: Mapping[str, str | None]) -> None:
    for key, value in values.items():
        spark.conf.set(key, str(value))
