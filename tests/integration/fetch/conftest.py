"""A lake with a real ledger beside an exchange on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.ledger.database import connect
from marketlake.ledger.feed_market import claim_market
from marketlake.sandbox import RecordedMarket, Sandbox, SyntheticMarket
from tests.integration.fetch.world import NOW, World, settings_for


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(seed=7)


@pytest.fixture(scope="module")
def recorded_market(recorded_data: Path) -> RecordedMarket:
    return RecordedMarket(recorded_data)


@pytest.fixture
def world(postgres: PostgresAddress, home: Path, market: SyntheticMarket) -> Iterator[World]:
    """A new lake beside a synthetic exchange whose clock stands at 2025-02-20 12:00."""
    with Sandbox(market, clock=NOW, frozen=True) as sandbox:
        settings = settings_for(sandbox)
        with connect(settings) as connection:
            claim_market(connection, market.name)
            yield World(settings, connection, sandbox)


@pytest.fixture
def recorded_world(postgres: PostgresAddress, home: Path, recorded_market: RecordedMarket) -> Iterator[World]:
    """A new lake beside the recorded exchange, after all that was recorded."""
    with Sandbox(recorded_market, clock="2026-06-01T00:00:00Z", frozen=True) as sandbox:
        settings = settings_for(sandbox)
        with connect(settings) as connection:
            claim_market(connection, recorded_market.name)
            yield World(settings, connection, sandbox)
