"""Fixtures that every part shares: a home of its own, the recorded data, a real Postgres."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketlake.embedded_postgres import PostgresAddress, ensure_running, stop
from marketlake.settings import load_settings
from tests.databases import environment_of, fresh_database
from tests.parts import plugin_of

REPOSITORY = Path(__file__).resolve().parents[1]
MARKER_OF_FOLDER = {"acceptance": "acceptance", "bench": "bench", "spark": "spark"}


def pytest_configure(config: pytest.Config) -> None:
    """Run a part of the long proofs only, and keep their results, where the environment says so."""
    plugin = plugin_of(os.environ)
    if plugin is not None:
        config.pluginmanager.register(plugin, "marketlake-parts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder, so that `-m` chooses the same wherever a test is put."""
    for item in items:
        folder = item.path.relative_to(REPOSITORY / "tests").parts[0]
        if folder in MARKER_OF_FOLDER:
            item.add_marker(MARKER_OF_FOLDER[folder])


@pytest.fixture(autouse=True, scope="session")
def settings_of_the_shell_are_ignored() -> None:
    """A developer's own settings must not decide what a test sees."""
    for name in list(os.environ):
        if name.startswith("MARKETLAKE__") or name in ("MARKETLAKE_HOME", "CONFIG_FILE", "LOG_LEVEL"):
            del os.environ[name]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty `MARKETLAKE_HOME` for this test alone, also in the commands that it starts."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("MARKETLAKE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data; absent it skips, but fails in CI (CI=true)."""
    folder = Path(os.environ.get("MARKETLAKE_TEST_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
    if (folder / "MANIFEST.csv").is_file():
        return folder
    message = f"no recorded data at {folder}; set MARKETLAKE_TEST_DATA"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresAddress]:
    """One embedded server for the whole test session, in a folder of its own; use `postgres` for a database in it."""
    with tempfile.TemporaryDirectory(prefix="marketlake-postgres-") as folder:
        settings = load_settings(environ={"MARKETLAKE_HOME": folder, "MARKETLAKE__DATABASE__DATABASE": "test_session"})
        try:
            yield ensure_running(settings)
        finally:
            stop(Path(folder))


@pytest.fixture
def postgres(
    postgres_server: PostgresAddress, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgresAddress]:
    """A new, empty database for this test; `load_settings()` and started commands find it through the environment."""
    with fresh_database(postgres_server) as address:
        for name, value in environment_of(address).items():
            monkeypatch.setenv(name, value)
        yield address


@pytest.fixture(scope="module")
def postgres_of_module(postgres_server: PostgresAddress) -> Iterator[PostgresAddress]:
    """A new, empty database for all tests of a module; `tests.databases.environment_of` tells commands of it."""
    with fresh_database(postgres_server) as address:
        yield address
