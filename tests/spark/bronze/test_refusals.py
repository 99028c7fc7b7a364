"""What must not enter does not, alone: a manifest, a market, a file (QUA-10, QUA-14, GEN-08, ING-13)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame

from marketlake import ledger
from marketlake.datasets import OHLCV
from marketlake.work import Market
from spark_jobs.bronze import load
from tests.landed import ETH, Landing, kline, window, zip_of
from tests.spark.lake import SparkLake

SOL = Market("spot", "SOL/USDT", "SOLUSDT")
XRP = Market("spot", "XRP/ETH", "XRPETH")
DAY = window("2024-01-01", "2024-01-02")
CANDLES = [kline(f"2024-01-01T{hour:02}:00") for hour in range(24)]
REAL_CONFORM = load.conform


def minutes(count: int, bad: int) -> list[list[object]]:
    """A candle for each minute, the first `bad` of which have a high below their low."""
    good = [kline(f"2024-01-01T{n // 60:02}:{n % 60:02}", timeframe="1m") for n in range(count)]
    return [[*row[:2], "80", *row[3:]] for row in good[:bad]] + good[bad:]


def states(lake: SparkLake, symbol: str, timeframe: str = "1h") -> list[str]:
    return [tile.state for tile in lake.tiles("ohlcv", symbol, timeframe)]


def emitting_once_more(*arguments: object, **options: object) -> DataFrame:
    """Conform as ever, but the first observation of the first manifest comes twice."""
    rows = REAL_CONFORM(*arguments, **options)  # type: ignore[arg-type]
    return rows.unionAll(rows.where("manifest_no = 0 and fate = 'kept'").orderBy("open_time").limit(1))


def test_a_manifest_with_a_failed_critical_expectation_leaves_every_layer_alone_and_others_load(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lake.landing(), lake.landing()
    first.rest(CANDLES, DAY, market=SOL)
    broken = first.seal()
    second.sealed = 5
    second.rest(CANDLES, DAY, market=ETH)
    monkeypatch.setattr(load, "conform", emitting_once_more)

    done = lake.load((first, broken), second)

    assert [record.manifest_state for record in done] == ["refused", "loaded"]
    state, why = lake.state(broken)
    assert state == "refused"
    assert "critical expectation failed in suite market_data_quality: observations_are_distinct (1 rows)" in (why or "")
    assert {row[0] for row in lake.rows("ohlcv", "symbol")} == {"ETH/USDT"}
    assert not Path(lake.settings.lake_root, "bronze", "ohlcv_dlq").exists()
    assert (states(lake, "SOL/USDT"), states(lake, "ETH/USDT")) == (["failed"], ["present"])
    changed = lake.connection.execute("select distinct symbol from ops.changes").fetchall()
    assert changed == [("ETH/USDT",)]

    monkeypatch.setattr(load, "conform", REAL_CONFORM)
    ledger.wait_again(lake.connection, [broken.manifest_id])
    (again,) = lake.drain()
    assert (again.manifest_state, again.appended_rows, again.kind) == ("loaded", 24, "retry:1")
    assert states(lake, "SOL/USDT") == ["present"]


def test_a_market_over_the_share_is_refused_alone_and_few_rows_only_warn(
    lake: SparkLake, caplog: pytest.LogCaptureFixture
) -> None:
    landing = lake.landing()
    landing.rest(minutes(120, bad=7), DAY, market=SOL, timeframe="1m")
    landing.rest(minutes(120, bad=6), DAY, market=ETH, timeframe="1m")
    landing.rest(minutes(99, bad=50), DAY, market=XRP, timeframe="1m")

    (record,) = lake.load(landing)

    assert record.manifest_state == "refused"
    assert "SOL/USDT: 7 of 120 rows rejected (5.8%): high < low 7" in (record.error or "")
    kept = dict(lake.table("bronze.ohlcv").groupBy("symbol").count().collect())
    assert kept == {"ETH/USDT": 114, "XRP/ETH": 49}
    letters = dict(lake.table("bronze.ohlcv_dlq").groupBy("symbol").count().collect())
    assert letters == {"ETH/USDT": 6, "XRP/ETH": 50}
    assert states(lake, "SOL/USDT", "1m") == ["failed"]
    warned = [entry.getMessage() for entry in caplog.records if entry.name == "marketlake.audit"]
    assert any("ETH/USDT: 6 of 120 rows rejected (5.0%)" in text for text in warned)
    assert any("XRP/ETH: 50 of 99 rows rejected (50.5%)" in text for text in warned)
    verdicts = lake.connection.execute(
        "select symbol, received_rows, rejected_rows, is_refused from ops.market_verdicts order by 1"
    ).fetchall()
    assert verdicts == [("ETH/USDT", 120, 6, False), ("SOL/USDT", 120, 7, True), ("XRP/ETH", 99, 50, False)]


@pytest.mark.usefixtures("on_both_ways")
def test_a_file_that_its_reader_holds_fails_its_manifest_and_touches_no_table(lake: SparkLake, tmp_path: Path) -> None:
    held, good = lake.landing(), lake.landing()
    rows = [",".join(map(str, row)) for row in CANDLES]
    outside = ",".join(map(str, kline("2024-03-01T00:00")))
    name = "data/spot/daily/klines/SOLUSDT/1h/SOLUSDT-1h-2024-01-01.zip"
    held.archive(zip_of(tmp_path, "SOLUSDT-1h-2024-01-01", [*rows, outside]), name, market=SOL)
    manifest = held.seal()
    good.sealed = 5
    good.rest(CANDLES, DAY, market=ETH)

    done = lake.load((held, manifest), good)

    assert [record.manifest_state for record in done] == ["loaded"]
    state, why = lake.state(manifest)
    assert state == "failed"
    assert f"{name} is held: row 24 has time" in (why or "")
    assert {row[0] for row in lake.rows("ohlcv", "symbol")} == {"ETH/USDT"}
    assert states(lake, "SOL/USDT") == ["failed"]


def test_a_landed_file_that_changed_after_its_sealing_is_damaged_and_the_others_load(lake: SparkLake) -> None:
    changed, good = lake.landing(), lake.landing()
    answer = changed.rest(CANDLES, DAY, market=SOL)
    manifest = changed.seal()
    changed.area.absolute(answer.files[0].path).write_text("{}\n")
    good.sealed = 5
    good.rest(CANDLES, DAY, market=ETH)

    done = lake.load((changed, manifest), good)

    assert [record.manifest_state for record in done] == ["loaded"]
    assert lake.state(manifest)[0] == "damaged"
    assert states(lake, "SOL/USDT") == ["failed"]


def test_bodies_that_stayed_unreadable_go_to_the_dlq_and_their_window_stays_open(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest(CANDLES, DAY, market=ETH)
    landing.unreadable("<html>maintenance</html>", DAY, market=SOL)

    (record,) = lake.load(landing)

    assert (record.manifest_state, record.appended_rows, record.rejected_rows) == ("loaded", 24, 1)
    (letter,) = lake.table("bronze.ohlcv_dlq").collect()
    assert (letter["raw_payload"], letter["error"], letter["symbol"]) == (
        "<html>maintenance</html>",
        "parse_failed",
        "SOL/USDT",
    )
    assert states(lake, "SOL/USDT") == ["failed"]


def test_what_was_refused_is_kept_in_landing_and_nothing_else_is_asked_for(lake: SparkLake) -> None:
    landing = Landing(Path(lake.settings.lake_root))
    landing.rest(minutes(200, bad=100), DAY, market=SOL, timeframe="1m")
    (record,) = lake.load(landing)

    (tile,) = lake.tiles(OHLCV.name, "SOL/USDT", "1m")
    assert record.manifest_state == "refused"
    assert (tile.state, tile.is_refused) == ("failed", True)
    assert not Path(lake.settings.lake_root, "bronze", "ohlcv").exists() or lake.table("bronze.ohlcv").count() == 0
