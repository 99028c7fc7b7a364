"""What reading a DAG file costs and loads: its own import, without Airflow's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dags.conftest import REPOSITORY, dag_files

HEAVY = ("pyspark", "delta", "deltalake", "great_expectations", "dbt", "ccxt", "pyarrow", "pandas", "polars", "psycopg")
_MEASURE = """
import json, sys, time
import airflow.sdk, airflow.sdk.definitions.mappedoperator, airflow.sdk.bases.operator, airflow.listeners
import pydantic, yaml
before = set(sys.modules)
started = time.perf_counter()
import importlib
importlib.import_module({module!r})
took = round(1000 * (time.perf_counter() - started), 1)
print(json.dumps({{"ms": took, "modules": sorted(set(sys.modules) - before)}}))
"""


@pytest.mark.parametrize("path", dag_files(), ids=lambda path: path.stem)
def test_a_dag_file_loads_nothing_heavy_and_its_own_import_is_reported(
    path: Path, record_property: Callable[[str, object], None]
) -> None:
    code = _MEASURE.format(module=f"marketlake_dags.{path.stem}")
    folders = [str(REPOSITORY / "dags"), str(REPOSITORY / "plugins")]
    code = f"import sys; sys.path[:0] = {folders!r}{code}"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    own = json.loads(done.stdout.splitlines()[-1])
    record_property("own_import_ms", own["ms"])
    print(f"{path.stem}: {own['ms']} ms, {len(own['modules'])} modules of its own")
    assert [name for name in own["modules"] if name.split(".")[0] in HEAVY] == []


def test_airflows_environment_holds_none_of_the_librarys_packages() -> None:
    python = REPOSITORY / ".venv" / "airflow" / "bin" / "python"
    if not python.is_file():
        pytest.skip("Airflow's environment is not set up here")
    wanted = ("pyspark", "delta", "great_expectations", "dbt", "ccxt", "deltalake")
    code = f"from importlib.util import find_spec; print([name for name in {wanted!r} if find_spec(name)])"

    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True, env={})

    assert done.stdout.strip() == "[]"


def test_only_the_plugin_file_is_executed_by_the_plugin_scanner() -> None:
    from airflow._shared.module_loading import find_path_from_directory

    found = find_path_from_directory(str(REPOSITORY / "plugins"), ".airflowignore", "glob")

    assert [Path(path).name for path in found if path.endswith(".py")] == ["marketlake_plugin.py"]
