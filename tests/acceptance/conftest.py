"""Worlds for the proofs: a sandbox exchange with its own clock, and a lake that reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.sandbox import RecordedMarket, Sandbox, SyntheticMarket
from tests.databases import environment_of, fresh_database
from tests.spark.conftest import lake, spark  # noqa: F401 - fixtures for proofs that load in their own session
from tests.world import World, world_of

AFTER_THE_RECORDINGS = "2026-05-02T00:00:00Z"
MakeWorld = Callable[..., World]


@pytest.fixture(scope="module")
def make_world(postgres_server: PostgresAddress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeWorld]:
    """Return a function that makes a world of a market at an instant; all end with the module's tests."""
    with ExitStack() as stack:

        def make(market: RecordedMarket | SyntheticMarket, clock: str, **environ: str) -> World:
            sandbox = stack.enter_context(Sandbox(market, clock=clock))
            address = stack.enter_context(fresh_database(postgres_server))
            home = tmp_path_factory.mktemp("home")
            return world_of(sandbox, home, **environment_of(address), **environ)

        yield make


@pytest.fixture(scope="module")
def recorded_world(make_world: MakeWorld, recorded_data: Path) -> World:
    """A world of the recorded market after its last instant."""
    return make_world(RecordedMarket(recorded_data), AFTER_THE_RECORDINGS)
