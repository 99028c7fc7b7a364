"""ING-01: an exchange that only its registry entry knows is fetched and read through unchanged code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType, ModuleType

import pyarrow as pa
import pytest

from marketlake.exchanges.binance import readers as binance_readers
from marketlake.exchanges.binance.client import Client
from marketlake.exchanges.protocol import Capabilities
from marketlake.exchanges.registry import EXCHANGES, ExchangeEntry, exchange_named
from marketlake.fetch import fetch
from marketlake.landing import read_manifest
from marketlake.ledger.runs import Run, create_run
from marketlake.ledger.tasks import save_tasks
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.settings import Exchange
from tests.integration.fetch.world import NOW, World, rest_task, window

DUMMY = ExchangeEntry(
    exchange="dummy",
    capabilities=Capabilities(
        market_types=("spot",),
        sources=MappingProxyType({"ohlcv": ("rest",)}),
        timeframes=("1m", "1h"),
        page_rows=MappingProxyType({("ohlcv", "spot"): 1000}),
        weight_scopes=("spot", "usdm", "usdm_funding"),
    ),
    client_module="dummy_exchange",
    readers_module="dummy_exchange",
)


@pytest.fixture
def dummy_module() -> Iterator[None]:
    """One module with a client and readers, as a new exchange would bring; this one speaks as Binance does."""
    module = ModuleType("dummy_exchange")
    module.Client = Client  # type: ignore[attr-defined]
    module.read_rows = binance_readers.read_rows  # type: ignore[attr-defined]
    module.read_batches = binance_readers.read_batches  # type: ignore[attr-defined]
    sys.modules["dummy_exchange"] = module
    yield
    del sys.modules["dummy_exchange"]


@pytest.mark.usefixtures("dummy_module")
def test_a_new_exchange_takes_one_module_and_one_entry(world: World) -> None:
    known = {**EXCHANGES, "dummy": DUMMY}
    with Sandbox(SyntheticMarket(seed=7), clock=NOW, frozen=True) as second:
        section = Exchange(rest_url=second.url, retry_base_seconds=0.01)
        settings = world.settings.model_copy(update={"exchanges": {**world.settings.exchanges, "dummy": section}})
        run = create_run(world.connection, Run("dummy_run", "cli", None, "incremental", {}, NOW))
        task = replace(rest_task(over=window("2025-02-01", "2025-02-08")), run_id="dummy_run", exchange="dummy")
        save_tasks(world.connection, "dummy_run", [task])

        summary = fetch(world.connection, settings, run=run, exchange="dummy", dataset="ohlcv", known=known)

    manifest = read_manifest(summary.manifests[0])
    [answer] = manifest.answers
    [file] = answer.files
    rows: pa.Table = exchange_named("dummy", known=known).readers.read_rows(
        "ohlcv", world.area.absolute(file.path), file=file, answer=answer
    )
    assert (manifest.exchange, answer.status, rows.num_rows) == ("dummy", "answered", 7 * 24)
    assert len(second.requests("/api/v3/klines")) == 1
    assert world.data_requests() == []
