"""Loads whose ledger or table is lost: the ledger is told again, a restored table is loaded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from marketlake.datasets import OHLCV
from marketlake.lake.files import table_path
from marketlake.ledger import entries
from marketlake.recovery.rebuild import rebuild
from marketlake.recovery.restore import restore
from marketlake.work import Market
from tests.landed import ETH, window
from tests.ledgers import ledger_content
from tests.spark.bronze.test_reissues import DAY, HOURS, RESTATED, load, without_six
from tests.spark.bronze.test_reloads import Killed, minutes
from tests.spark.lake import SparkLake

LATE = Market("spot", "XRP/USDT", "XRPUSDT")
COLUMNS = ("symbol", "open_time", "source", "revision", "is_retracted", "close", "received_at", "digest")


def told(lake: SparkLake) -> dict[str, Any]:
    """What the ledger says; how an archive was asked for is not landed by hand here."""
    return {name: rows for name, rows in ledger_content(lake.connection).items() if name not in ("archives", "lake")}


def lose_postgres(lake: SparkLake) -> None:
    tables = lake.connection.execute(
        "select string_agg('ops.' || relname, ', ') from pg_class where relnamespace = 'ops'::regnamespace"
        " and relkind = 'r' and relname <> 'schema_version'"
    ).fetchone()
    assert tables is not None
    lake.connection.execute(f"truncate {tables[0]} restart identity cascade".encode())


def version(lake: SparkLake) -> int:
    return DeltaTable(table_path(lake.settings.lake_root, OHLCV.table)).version()


@pytest.fixture
def story(lake: SparkLake, tmp_path: Path) -> SparkLake:
    """Candles, a reissue that restates one and retracts one, an agreement, a refused market, holes, a rejected row."""
    load(lake, tmp_path, HOURS, 1)
    load(lake, tmp_path, without_six(RESTATED), 2, "reissue", reason="reissue")
    later = lake.landing()
    later.sealed = 30
    later.rest([*RESTATED[:6], *RESTATED[8:]], DAY, market=Market("spot", "SOL/USDT", "SOLUSDT"))
    later.rest(minutes(120, bad=7), DAY, market=LATE, timeframe="1m")
    later.rest([*HOURS[:3], [*HOURS[3][:2], "80", *HOURS[3][3:]], *HOURS[5:]], DAY, market=ETH)
    later.unreadable("<html>maintenance</html>", window("2024-01-02", "2024-01-03"), market=ETH)
    lake.load(later)
    return lake


def test_the_ledger_of_a_lake_with_revisions_holes_refusals_and_retractions_is_told_again(story: SparkLake) -> None:
    before, rows = told(story), story.rows("ohlcv", *COLUMNS, "known_at", "load_id")
    assert {tile[6] for tile in before["coverage"]} == {"present", "unfillable", "failed", "rejected", "pending"}
    lose_postgres(story)

    done = rebuild(story.settings, story.connection)

    assert told(story) == before
    assert (done.waiting, done.lost_loads, done.damaged) == (0, 0, ())
    assert story.drain() == []
    assert story.rows("ohlcv", *COLUMNS, "known_at", "load_id") == rows


@pytest.mark.parametrize("is_rebuilt", [False, True])
def test_a_kill_between_entry_and_ledger_heals(
    lake: SparkLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_rebuilt: bool
) -> None:
    def die(name: str) -> None:
        if name == "ledger.after_loaded":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(entries, "crash_point", die)
        with pytest.raises(Killed):
            load(lake, tmp_path, HOURS, 1)
    assert lake.tiles("ohlcv", "SOL/USDT", "1h") == []
    if is_rebuilt:
        lose_postgres(lake)
        rebuild(lake.settings, lake.connection)
        assert lake.drain() == []
    else:
        (again,) = lake.drain()
        assert again.appended_rows == 24
        before = told(lake)
        lose_postgres(lake)
        rebuild(lake.settings, lake.connection)
        assert told(lake) == before
    assert [tile.state for tile in lake.tiles("ohlcv", "SOL/USDT", "1h")] == ["present"]
    assert len(lake.rows("ohlcv", "open_time")) == 24


def test_a_manifest_without_its_entry_finds_its_own_commit(story: SparkLake) -> None:
    rows = story.rows("ohlcv", *COLUMNS, "known_at", "load_id")
    tiles = [(t.window, t.state, t.cause) for t in story.tiles("ohlcv", "ETH/USDT", "1h")]
    for entry in Path(story.settings.lake_root, "landing").glob("*/*/ledger/*.loaded.json"):
        if '"ETH/USDT"' in entry.read_text():
            entry.unlink()
    lose_postgres(story)

    assert rebuild(story.settings, story.connection).waiting == 1
    assert story.tiles("ohlcv", "ETH/USDT", "1h") == []
    story.drain()

    assert story.rows("ohlcv", *COLUMNS, "known_at", "load_id") == rows
    assert [(t.window, t.state, t.cause) for t in story.tiles("ohlcv", "ETH/USDT", "1h")] == tiles


@pytest.mark.parametrize("back_to", [0, 1])
def test_a_restored_table_gets_its_lost_loads_from_the_landing_area(story: SparkLake, back_to: int) -> None:
    rows, coverage = story.rows("ohlcv", *COLUMNS), told(story)["coverage"]
    known = [row[:9] for row in coverage]

    restore(story.settings, story.connection, OHLCV, back_to, run_id="restore")
    assert len(story.rows("ohlcv", "open_time")) < len(rows)
    done = story.drain()

    assert {record.load_id for record in done}.isdisjoint({row[12] for row in coverage})
    assert story.rows("ohlcv", *COLUMNS) == rows
    assert [row[:9] for row in told(story)["coverage"]] == known
    before = told(story)
    lose_postgres(story)
    rebuild(story.settings, story.connection)
    assert told(story) == before
    assert version(story) > back_to
