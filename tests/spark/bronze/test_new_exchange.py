"""ING-01: an exchange of one module and one entry is fetched from its own server and loaded by the unchanged job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark import cloudpickle

from marketlake.exchanges.registry import EXCHANGES, ExchangeEntry, exchange_named
from marketlake.fetch import fetch
from marketlake.ledger import Run, create_run, save_tasks
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.settings import Exchange
from spark_jobs.bronze import findings, landed_rows
from tests.integration.fetch.world import NOW, rest_task, window
from tests.spark.lake import SparkLake

MODULE = Path(__file__).resolve().parents[1] / "dummy_exchange.py"
WEEK = window("2025-02-01", "2025-02-08")


def named(exchange: str) -> ExchangeEntry:
    """The registry with one entry more."""
    import dummy_exchange

    return exchange_named(exchange, known={**EXCHANGES, "dummy": dummy_exchange.ENTRY})


@pytest.fixture
def registered(lake: SparkLake, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The entry is known here and in the executors, which get the module as a job's file."""
    lake.spark.sparkContext.addPyFile(str(MODULE))
    for module in (landed_rows, findings):
        monkeypatch.setattr(module, "exchange_named", named)
    cloudpickle.register_pickle_by_value(landed_rows)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(landed_rows)
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.usefixtures("registered")
def test_a_new_exchange_loads_through_the_unchanged_job(lake: SparkLake) -> None:
    import dummy_exchange

    known = {**EXCHANGES, "dummy": dummy_exchange.ENTRY}
    with Sandbox(SyntheticMarket(seed=7), clock=NOW, frozen=True) as second:
        section = Exchange(rest_url=second.url, retry_base_seconds=0.01)
        settings = lake.settings.model_copy(update={"exchanges": {**lake.settings.exchanges, "dummy": section}})
        run = create_run(lake.connection, Run("run", "cli", None, "incremental", {}, NOW))
        save_tasks(lake.connection, "run", [replace(rest_task(over=WEEK), run_id="run", exchange="dummy")])
        fetch(lake.connection, settings, run=run, exchange="dummy", dataset="ohlcv", known=known)
        truth = second.market.candles("BTC/USDT", "1h", "2025-02-01", "2025-02-08")  # type: ignore[attr-defined]

    (record,) = lake.drain()

    assert (record.manifest_state, record.exchange, record.appended_rows) == ("loaded", "dummy", 7 * 24)
    rows = lake.rows("ohlcv", "exchange", "close", order="open_time")
    assert {exchange for exchange, _ in rows} == {"dummy"}
    assert [close for _, close in rows] == truth["close"].to_pylist()
