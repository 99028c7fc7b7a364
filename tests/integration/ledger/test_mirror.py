"""Tests for ``marketlake.ledger.mirror``."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from deltalake import DeltaTable

from marketlake.ledger import Fact, store_instruments
from marketlake.ledger.mirror import mirror
from marketlake.work import Instrument
from tests.integration.ledger.rows import NOW, load, span

BTC = ("ohlcv", "binance", "BTC/USDT", "1h")
TABLES = {
    "coverage",
    "loads",
    "instruments",
    "archive_files",
    "source_disagreements",
    "ingest_watermarks",
    "coverage_gaps",
}


def filled(connection: psycopg.Connection) -> None:
    window = ("2025-01-01", "2025-01-04")
    load(connection, "l1", window=window, answered=[("2025-01-01", "2025-01-02")], details={"suite": "ok"})
    instrument = Instrument(
        "binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT", price_tick=Decimal("0.010"), listed_at=NOW
    )
    store_instruments(connection, "binance", [instrument], NOW)


def rows(root: Path, table: str, columns: str) -> list[Any]:
    found = DeltaTable(str(root / "control" / table)).to_pyarrow_dataset()
    return duckdb.from_arrow(found).select(columns).fetchall()


def test_every_table_is_there_after_the_first_mirror_even_when_empty(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    written = mirror(connection, tmp_path)

    assert written == {f"control.{name}": 0 for name in TABLES}
    assert {path.name for path in (tmp_path / "control").iterdir()} == TABLES


def test_the_mirror_holds_what_the_ledger_holds(connection: psycopg.Connection, tmp_path: Path) -> None:
    filled(connection)
    mirror(connection, str(tmp_path))

    assert rows(tmp_path, "coverage", "symbol, state, attempts") == [
        ("BTC/USDT", "present", 0),
        ("BTC/USDT", "pending", 1),
    ]
    assert rows(tmp_path, "coverage_gaps", "missing_count, status") == [(48, "open")]
    assert rows(tmp_path, "loads", "load_id, step, details") == [("l1", "loaded", '{"suite": "ok"}')]
    assert rows(tmp_path, "instruments", "symbol, price_tick") == [("BTC/USDT", "0.010")]
    [(watermark, last)] = rows(tmp_path, "ingest_watermarks", "high_watermark_at, last_open_time")
    assert (watermark, watermark - last) == (span("2025-01-01", "2025-01-02").end, timedelta(hours=1))


def test_a_mirror_without_news_writes_nothing_and_one_with_news_only_what_changed(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    filled(connection)
    mirror(connection, tmp_path)
    assert mirror(connection, tmp_path) == {}

    load(connection, "l2", facts=(Fact(*BTC, window=span("2025-01-05", "2025-01-06"), state="present", source="rest"),))

    assert set(mirror(connection, tmp_path)) == {"control.coverage", "control.loads"}
    assert DeltaTable(str(tmp_path / "control" / "coverage")).version() == 1
    assert len(rows(tmp_path, "coverage", "state")) == 3
