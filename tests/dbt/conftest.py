"""A warehouse for a whole module: dbt takes seconds a call, so tests of one module share a build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.settings import load_settings
from tests.databases import environment_of
from tests.dbt.warehouse import Warehouse


@pytest.fixture(scope="module")
def warehouse(postgres_of_module: PostgresAddress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """An empty warehouse with a home of its own."""
    home: Path = tmp_path_factory.mktemp("home")
    settings = load_settings(environ={"MARKETLAKE_HOME": str(home), **environment_of(postgres_of_module)})
    made = Warehouse.of(settings)
    yield made
    made.connection.close()
