"""Runs, manifests and loads, short enough to read in a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from marketlake.datasets import dataset_named
from marketlake.instants import Window, parse_instant
from marketlake.ledger import Fact, LoadRecord, Run, create_run, facts_of_answer, record_load, register_manifest
from marketlake.work import Answer, LandedFile, Manifest, Market

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
SPOT = Market("spot", "BTC/USDT", "BTCUSDT")


def make_run(connection: psycopg.Connection, run_id: str = "cli__1", **changes: Any) -> Run:
    """A stored run."""
    plain = Run(run_id, "cli", None, "incremental", {}, NOW)
    return create_run(connection, replace(plain, **changes))


def make_answer(window: Window, **changes: Any) -> Answer:
    """An answer with one file."""
    file = LandedFile("binance/ohlcv/rest/r/t.jsonl", "ab" * 32, 10, "http://x", "/api", NOW, "rest_jsonl")
    plain = Answer("t1", SPOT, "1h", "rest", window, "answered", NOW, (file,))
    return replace(plain, **changes)


def make_manifest(*answers: Answer, run_id: str = "cli__1", **changes: Any) -> Manifest:
    """A sealed manifest."""
    plain = Manifest(run_id, "binance", "ohlcv", "recorded", 0.0, NOW, answers, sealed_at=NOW)
    return replace(plain, **changes)


def load(
    connection: psycopg.Connection,
    load_id: str,
    *,
    answered: list[tuple[str, str]] | None = None,
    window: tuple[str, str] | None = None,
    facts: tuple[Fact, ...] = (),
    now: datetime = NOW,
    timeframe: str = "1h",
    market: Market = SPOT,
    source: str = "rest",
    **changes: Any,
) -> bool:
    """Record a load that answered a window with rows in the ranges of `answered`, without a manifest."""
    if window is not None:
        asked = Answer("t", market, timeframe, source, span(*window), "answered", now)
        facts += tuple(
            facts_of_answer(
                asked,
                [span(*bounds) for bounds in answered or []],
                [],
                exchange="binance",
                dataset=dataset_named("ohlcv"),
                now=now,
            )
        )
    record = LoadRecord(load_id, "bronze.ohlcv", "ohlcv", "binance", None, "cli__1", facts=facts)
    return record_load(connection, replace(record, **changes))


def span(start: str, end: str) -> Window:
    """The window of two texts."""
    return Window(parse_instant(start), parse_instant(end))


def registered(connection: psycopg.Connection, *answers: Answer, **changes: Any) -> Manifest:
    """A manifest that waits."""
    manifest = make_manifest(*answers, **changes)
    register_manifest(connection, manifest, f"/landing/binance/ohlcv/manifests/{manifest.run_id}.json")
    return manifest


def days(count: int) -> timedelta:
    """So many days."""
    return timedelta(days=count)
