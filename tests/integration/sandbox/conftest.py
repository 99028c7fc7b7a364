"""A running sandbox for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from marketlake.sandbox import Sandbox, SyntheticMarket
from tests.integration.sandbox.asking import Ask, Reply, ask

START = "2025-02-01T12:00:30Z"


@pytest.fixture(scope="session")
def market() -> SyntheticMarket:
    """The made-up market, whose truth the tests compare with."""
    return SyntheticMarket(7)


@pytest.fixture(scope="module")
def running(market: SyntheticMarket) -> Iterator[Sandbox]:
    """One server for a module, its clock standing still."""
    with Sandbox(market, clock=START, frozen=True) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    """The running server without faults, log, used weight; its clock at the start."""
    running.faults.clear()
    running.clear_requests()
    running.meter.forgive()
    running.set_clock(START, frozen=True)
    return running


@pytest.fixture
def get(sandbox: Sandbox) -> Ask:
    """Ask the sandbox for a path."""

    def get_path(path: str, **options: Any) -> Reply:
        return ask(sandbox.url + path, **options)

    return get_path
