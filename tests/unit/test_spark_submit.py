"""Tests for ``marketlake.spark_submit``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from marketlake.errors import SetupError
from marketlake.java import REPOSITORY
from marketlake.settings import Settings, load_settings
from marketlake.spark_submit import driver_java_options, spark_submit_command

A_SCRIPT = "spark_jobs/__init__.py"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(environ={"MARKETLAKE_HOME": str(tmp_path), "MARKETLAKE__SPARK__DRIVER_MEMORY": "3g"})


def test_command_names_master_memory_class_path_and_the_jobs_arguments(settings: Settings) -> None:
    command, _ = spark_submit_command(settings, A_SCRIPT, ["--run", "cli__1"])

    options = dict(zip(command[1::2], command[2::2], strict=False))
    assert options["--master"] == "local[2]"
    assert options["--driver-memory"] == "3g"
    assert "delta-spark_" in options["--driver-class-path"]
    assert command[-3:] == [str(REPOSITORY / A_SCRIPT), "--run", "cli__1"]


def test_job_runs_in_utc_on_the_loopback_address_with_telemetry_off(settings: Settings) -> None:
    _, environ = spark_submit_command(settings, A_SCRIPT, environ={"PATH": "/usr/bin:/bin", "KEPT": "1"})

    assert environ["TZ"] == "UTC"
    assert environ["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert environ["GX_ANALYTICS_ENABLED"] == "false"
    assert environ["MARKETLAKE_HOME"] == str(settings.home)
    assert environ["KEPT"] == "1"


def test_big_loads_keep_the_optimising_compiler() -> None:
    assert "-XX:TieredStopAtLevel=1" in driver_java_options()
    assert "-XX:TieredStopAtLevel=1" not in driver_java_options(is_bulk=True)


def test_executors_of_a_cluster_get_the_jars_too(tmp_path: Path) -> None:
    spark = {"MARKETLAKE__SPARK__BACKEND": "standalone", "MARKETLAKE__SPARK__MASTER": "spark://127.0.0.1:7077"}
    variables = {"MARKETLAKE_HOME": str(tmp_path), **spark}

    command, _ = spark_submit_command(load_settings(environ=variables), A_SCRIPT)

    assert any(word.startswith("spark.executor.extraClassPath=") for word in command)


def test_unknown_job_and_wrong_java_are_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"no Spark job spark_jobs/bronze/lode\.py"):
        spark_submit_command(settings, "spark_jobs/bronze/lode.py")
    with pytest.raises(SetupError, match="JAVA_HOME"):
        spark_submit_command(settings, A_SCRIPT, environ={"JAVA_HOME": str(tmp_path)})


def test_building_the_command_imports_no_pyspark() -> None:
    program = (
        "import sys; from marketlake.spark_submit import driver_java_options; driver_java_options(); "
        "sys.exit('pyspark' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": str(REPOSITORY / "plugins")})

    assert done.returncode == 0
