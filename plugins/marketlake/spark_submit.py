"""Build the command line that starts a Spark job on this machine or against a standalone cluster.

Owns class path, JVM flags and environment of a job's process. It starts nothing and does not import pyspark, so that
Airflow's environment can use it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from marketlake.errors import SetupError
from marketlake.java import REPOSITORY, appcds_archive, jars, java_home, spark_home, spark_python
from marketlake.settings import Settings

TELEMETRY_OFF = {"DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
_QUIET_LOG = REPOSITORY / "spark_jobs" / "log4j2.properties"


def spark_submit_command(
    settings: Settings,
    script: str | Path,
    arguments: Sequence[str] = (),
    *,
    is_bulk: bool = False,
    environ: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return the command and the whole environment that run `script`, a path below the repository.

    `is_bulk` keeps the optimising compiler and the parallel collector, which pay from about a million rows on that
    Spark itself looks at.

    Raises:
        SetupError: Java, the jars or the library's environment are missing or do not fit.
    """
    environ = dict(os.environ if environ is None else environ)
    path = REPOSITORY / script
    if not path.is_file():
        raise SetupError(f"there is no Spark job {script} under {REPOSITORY}")
    home = java_home(environ)
    class_path = driver_class_path()
    command = [
        str(spark_home() / "bin" / "spark-submit"),
        *("--master", settings.spark.master),
        *("--driver-memory", settings.spark.driver_memory),
        *("--driver-class-path", class_path),
        *("--driver-java-options", shlex.join(driver_java_options(home, is_bulk=is_bulk))),
        *_cluster_options(settings.spark.master, class_path),
        str(path),
        *arguments,
    ]
    return command, {**environ, **_job_environment(settings, home, environ)}


def driver_class_path() -> str:
    """Return the class path of the driver beside pyspark's own jars; its order is part of the class archive."""
    return os.pathsep.join(str(jar) for jar in jars())


def driver_java_options(home: Path | None = None, *, is_bulk: bool = False) -> list[str]:
    """Return the JVM flags of a driver: UTC, few log lines, a fast start."""
    options = ["-Duser.timezone=UTC", f"-Dlog4j2.configurationFile=file:{_QUIET_LOG}"]
    if not is_bulk:
        options += ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        # With one compiler the JVM keeps 48 MB for its code; a session of many loads fills them, and then throws away
        # and compiles again without end.
        options.append("-XX:ReservedCodeCacheSize=240m")
    archive = appcds_archive(home)
    if archive is not None:
        options += [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    return options


def _cluster_options(master: str, class_path: str) -> list[str]:
    # A cluster's workers share this machine's folders (compose mounts them), so paths are enough.
    return ["--conf", f"spark.executor.extraClassPath={class_path}"] if master.startswith("spark://") else []


def _job_environment(settings: Settings, home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    python = str(spark_python())
    paths = [str(REPOSITORY / "plugins"), str(REPOSITORY), *filter(None, [environ.get("PYTHONPATH")])]
    return {
        "JAVA_HOME": str(home),
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "MARKETLAKE_HOME": str(settings.home),
        "TZ": "UTC",
        **TELEMETRY_OFF,
    }
