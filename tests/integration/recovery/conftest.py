"""A story in a database and a home of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from marketlake import ledger
from marketlake.settings import load_settings
from tests.integration.recovery.story import Story


@pytest.fixture
def story(postgres: object, home: object) -> Iterator[Story]:
    """The lake before anything happened; `load_settings()` finds it."""
    settings = load_settings()
    with ledger.connect(settings) as connection:
        yield Story(connection, settings)
