"""What the repository as a whole promises: folders, licence, and what its code never does (GEN-01, GEN-11, GEN-12)."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from marketlake.cli.commands import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("dags", "plugins", "spark_jobs", "expectations", "dbt_project", "docker", "tests", "config", "docs")
FILES = ("airflow.cfg", "requirements.txt", "README.md", "pyproject.toml", "Makefile", "CHANGELOG.md", "LICENSE")
# Engines of the read side, and the calls by which they would write the lake.
FRAMES = {"polars", "pandas", "duckdb"}
WRITERS = ("write_delta", "write_parquet", "sink_parquet", "to_parquet", "copy (")
# Endpoints and calls by which money could move.
TRADING = ("create_order", "cancel_order", "/api/v3/order", "/fapi/v1/order", "/sapi/", "withdraw(", "X-MBX-APIKEY")


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (REPOSITORY / folder).rglob("*.py")


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a module imports anywhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


def test_the_folders_and_files_are_at_the_top_level() -> None:
    assert [name for name in FOLDERS if not (REPOSITORY / name).is_dir()] == []
    assert [name for name in FILES if not (REPOSITORY / name).is_file()] == []


def test_what_reads_the_lake_by_another_engine_writes_nothing_with_it() -> None:
    reading = [path for path in sources("plugins", "spark_jobs", "expectations", "dags") if imported(path) & FRAMES]

    assert reading
    assert [
        (path.name, word) for path in reading for word in WRITERS if word in path.read_text(encoding="utf-8").lower()
    ] == []


@pytest.mark.parametrize("folder", ["plugins", "spark_jobs", "dags", "expectations"])
def test_no_code_could_place_an_order_or_move_money(folder: str) -> None:
    found = [
        (str(path.relative_to(REPOSITORY)), word)
        for path in sources(folder)
        for word in TRADING
        if word in path.read_text(encoding="utf-8")
    ]

    assert found == []


def test_the_project_is_under_the_mit_licence() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["license"] == "MIT"
    assert (REPOSITORY / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def changes() -> list[str]:
    """Return the entries of the change log, each on one line."""
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    return [" ".join(entry.split()) for entry in text.split("\n- ")[1:]]


def test_each_gold_column_stands_in_the_change_log() -> None:
    files = sorted((REPOSITORY / "dbt_project" / "models" / "gold").glob("*.yml"))
    models = [model for path in files for model in yaml.safe_load(path.read_text(encoding="utf-8"))["models"]]
    missing = [
        f"{model['name']}.{column['name']}"
        for model in models
        for column in model["columns"]
        if not any(f"`{model['name']}`" in entry and f"`{column['name']}`" in entry for entry in changes())
    ]

    assert len(models) >= 2
    assert missing == []


def test_each_command_stands_in_the_change_log() -> None:
    [entry] = [entry for entry in changes() if entry.startswith("`bin/marketlake`")]

    assert [name for name in COMMANDS if not re.search(rf"`{name}[ `]", entry)] == []


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
