"""ING-35, ING-15: one run parses and loads more than a million one-minute candles from archives."""

from __future__ import annotations

import pytest

from marketlake.instants import parse_instant
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld

pytestmark = [pytest.mark.spark]

SYMBOL, WINDOW = "SOL/USDT", ("2023-01-01", "2025-01-01")
MINUTES = 731 * 1440


def test_a_million_candles_come_from_archives_in_one_run(make_world: MakeWorld) -> None:
    world = make_world(SyntheticMarket(7), "2025-03-05T06:00:00Z")

    world.load(SYMBOL, "1m", *WINDOW)

    asked = [entry.path for entry in world.sandbox.requests(prefix="/data/") if entry.path.endswith(".zip")]
    assert (len(asked), world.sandbox.requests(prefix="/api/v3/klines")) == (24, [])
    loads = (
        "select count(*), sum(typed_rows), sum(appended_rows), sum(rejected_rows) from ops.loads where step = 'loaded'"
    )
    assert world.rows(loads) == [(1, MINUTES, MINUTES, 0)]
    assert world.rows("select count(*), count(distinct open_time) from bronze.ohlcv") == [(MINUTES, MINUTES)]
    files = "count(*), count(distinct status), min(status), sum(row_count), min(first_at), max(last_at), sum(attempts)"
    first, last = (parse_instant(text) for text in ("2023-01-01", "2024-12-31T23:59:00Z"))
    archives = f"select {files} from ops.archive_files where published_sha256 = loaded_sha256"
    assert world.rows(archives) == [(24, 1, "loaded", MINUTES, first, last, 24)]
    truth = world.sandbox.market.candles(SYMBOL, "1m", *WINDOW)  # type: ignore[attr-defined]
    sums = "select sum(close), sum(volume), sum(trade_count)::bigint from bronze.ohlcv"
    assert world.rows(sums) == [
        (sum(truth["close"].to_pylist()), sum(truth["volume"].to_pylist()), sum(truth["trade_count"].to_pylist()))
    ]
