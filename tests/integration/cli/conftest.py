"""A sandbox exchange, an empty database and an empty home, as the command line's settings."""

from collections.abc import Iterator

import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.sandbox import Sandbox, SyntheticMarket
from tests.databases import environment_of, fresh_database

CLOCK = "2025-03-05T06:00:00Z"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SyntheticMarket(7), clock=CLOCK) as running:
        yield running


@pytest.fixture(scope="module")
def database(postgres_server: PostgresAddress) -> Iterator[PostgresAddress]:
    with fresh_database(postgres_server) as address:
        yield address


@pytest.fixture
def world(sandbox: Sandbox, database: PostgresAddress, home, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, with this process's settings pointing at it and at the module's database."""
    for name in ("REST_URL", "FUTURES_REST_URL", "ARCHIVE_URL"):
        monkeypatch.setenv(f"MARKETLAKE__EXCHANGES__BINANCE__{name}", sandbox.url)
    monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__RETRY_BASE_SECONDS", "0.01")
    monkeypatch.setenv("MARKETLAKE__CLOCK__SOURCE", "exchange")
    for name, value in environment_of(database).items():
        monkeypatch.setenv(name, value)
    sandbox.clear_requests()
    return sandbox
