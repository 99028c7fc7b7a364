"""A planner over an empty ledger."""

from __future__ import annotations

import psycopg
import pytest

from marketlake.settings import Settings
from tests.integration.planning.planner import Planner


@pytest.fixture
def planner(connection: psycopg.Connection, settings: Settings) -> Planner:
    """A planner over an empty ledger that knows the markets."""
    return Planner(connection, settings)
