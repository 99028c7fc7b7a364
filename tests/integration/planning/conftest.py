"""A ledger in a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.ledger import connect
from marketlake.settings import Settings, load_settings


@pytest.fixture
def settings(postgres: PostgresAddress) -> Settings:
    """Settings that lead to this test's database."""
    return load_settings()


@pytest.fixture
def connection(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection to this test's ledger."""
    with connect(settings) as opened:
        yield opened
