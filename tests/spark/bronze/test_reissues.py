"""An archive that was replaced: changed rows, rows that are gone, and what a retraction outlives (ING-14, LAKE-12)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketlake import ledger
from marketlake.datasets import OHLCV
from marketlake.instants import Window
from marketlake.ledger import ArchiveFile, LoadRecord
from marketlake.settings import PriceBound
from marketlake.work import Answer, Market
from tests.landed import ETH, NOW, Landing, kline, window, zip_of
from tests.spark.bronze.test_reloads import changed, load_and_die, minutes, with_quality
from tests.spark.lake import SparkLake

SOL = Market("spot", "SOL/USDT", "SOLUSDT")
DAY = window("2024-01-01", "2024-01-02")
NAME = "SOLUSDT-1h-2024-01-01"
PATH = f"data/spot/daily/klines/SOLUSDT/1h/{NAME}.zip"
HOURS = [kline(f"2024-01-01T{hour:02}:00") for hour in range(24)]
RESTATED = [*HOURS[:5], kline("2024-01-01T05:00", "106"), *HOURS[6:]]
AT_FIVE = window("2024-01-01T05:00", "2024-01-01T06:00")
AT_SIX = window("2024-01-01T06:00", "2024-01-01T07:00")


def without_six(rows: list[list[Any]]) -> list[list[Any]]:
    return [*rows[:6], *rows[7:]]


def land(lake: SparkLake, folder: Path, rows: list[list[Any]], day: int, **options: Any) -> Landing:
    """Put the rows into the landing area as the archive that was downloaded on this day of May, and record it."""
    landing = lake.landing()
    landing.sealed = day * 10
    lines = [",".join(map(str, row)) for row in rows]
    answer = landing.archive(zip_of(folder, NAME, lines), PATH, market=SOL, received_at=f"2026-05-{day:02}", **options)
    record(lake, answer)
    return landing


def record(lake: SparkLake, answer: Answer) -> None:
    sha256 = answer.files[0].sha256
    ledger.record_archive(
        lake.connection,
        ArchiveFile("binance", PATH, "ohlcv", "SOL/USDT", "SOLUSDT", "1h", DAY.start, DAY.end, "verified",
                    published_sha256=sha256, computed_sha256=sha256, checked_at=NOW),
    )  # fmt: skip


def load(lake: SparkLake, folder: Path, rows: list[list[Any]], day: int, kind: str = "load", **more: Any) -> LoadRecord:
    landing = land(lake, folder, rows, day, **more)
    (done,) = lake.load((landing, landing.seal(kind=kind)))
    return done


def states(lake: SparkLake) -> list[tuple[Window, str, str]]:
    return [(tile.window, tile.state, tile.cause) for tile in lake.tiles("ohlcv", "SOL/USDT", "1h")]


def loaded_sha256(lake: SparkLake) -> str | None:
    known = ledger.archive_file(lake.connection, "binance", PATH)
    return known.loaded_sha256 if known else None


GONE = [
    (Window(DAY.start, AT_SIX.start), "present", ""),
    (AT_SIX, "unfillable", "retracted"),
    (Window(AT_SIX.end, DAY.end), "present", ""),
]


@pytest.mark.usefixtures("on_both_ways")
@pytest.mark.parametrize(("reason", "kind"), [("reissue", "reissue"), ("hole", "load"), ("force", "force")])
def test_a_replaced_archive_restates_and_retracts_whatever_it_was_asked_for(
    lake: SparkLake, tmp_path: Path, reason: str, kind: str
) -> None:
    load(lake, tmp_path, HOURS, 1)

    done = load(lake, tmp_path, without_six(RESTATED), 2, kind, reason=reason)

    assert done.kind == ("load" if kind == "load" else f"{kind}:1")
    assert (done.appended_rows, done.retracted_rows, done.agreed_rows) == (1, 1, 22)
    rows = lake.rows("ohlcv", "open_time", "revision", "is_retracted", "close", order="revision open_time")[24:]
    assert [(time.hour, *rest) for time, *rest in rows] == [
        (5, 1, False, Decimal("106")),
        (6, 1, True, Decimal("105")),
    ]
    assert states(lake) == GONE
    assert changed(lake, done.load_id) == [("SOL/USDT", Window(AT_FIVE.start, AT_SIX.end))]
    assert len(lake.current(OHLCV, "close")) == 23


def test_the_same_archive_again_retracts_nothing(lake: SparkLake, tmp_path: Path) -> None:
    load(lake, tmp_path, HOURS, 1)

    again = load(lake, tmp_path, HOURS, 2, "force", reason="force")

    assert (again.appended_rows, again.retracted_rows, again.delta_version) == (0, 0, None)


def test_a_garbled_line_of_a_replaced_archive_retracts_nothing(lake: SparkLake, tmp_path: Path) -> None:
    load(lake, tmp_path, HOURS, 1)
    garbled = [*HOURS[:6], ["what", *HOURS[6][1:]], *HOURS[7:]]

    done = load(lake, tmp_path, garbled, 2, "reissue", reason="reissue")

    assert (done.rejected_rows, done.retracted_rows) == (1, 0)
    assert len(lake.current(OHLCV, "close")) == 24
    assert states(lake) == [(DAY, "present", "")]


def test_a_retried_manifest_does_not_bring_back_what_was_retracted_since(lake: SparkLake, tmp_path: Path) -> None:
    landing = land(lake, tmp_path, HOURS, 1)
    landing.rest(minutes(120, bad=60), DAY, market=ETH, timeframe="1m")
    manifest = landing.seal()
    (first,) = lake.load((landing, manifest))
    assert first.manifest_state == "refused"
    load(lake, tmp_path, without_six(HOURS), 2, "reissue", reason="reissue")
    assert states(lake) == GONE

    ledger.wait_again(lake.connection, [manifest.manifest_id])
    newest = loaded_sha256(lake)
    (again,) = lake.drain()

    assert again.appended_rows == 0
    assert loaded_sha256(lake) == newest
    assert states(lake) == GONE
    assert len(lake.current(OHLCV, "close")) == 23


def test_a_retraction_that_a_killed_load_committed_is_told_though_the_rules_changed(
    lake: SparkLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(lake, tmp_path, HOURS, 1)
    landing = land(lake, tmp_path, without_six(HOURS), 2, reason="reissue")
    load_and_die(lake, monkeypatch, landing, kind="reissue")
    bounds = (PriceBound(symbol="XRP/USDT", low=1, high=2, valid_from="2020-01-01"),)

    (again,) = with_quality(lake, price_bounds=bounds).drain()

    assert (again.kind, again.retracted_rows) == ("retry:1", 0)
    assert states(lake) == GONE
    assert changed(lake, again.load_id) != []


def test_a_part_of_a_replaced_archive_does_not_hide_the_rest_of_it(lake: SparkLake, tmp_path: Path) -> None:
    load(lake, tmp_path, HOURS, 1)
    before = loaded_sha256(lake)
    landing = land(lake, tmp_path, RESTATED, 2)
    part = Window(DAY.start, DAY.start + timedelta(hours=3))
    landing.answers = [replace(answer, window=part) for answer in landing.answers]

    lake.load(landing)
    assert loaded_sha256(lake) == before

    done = load(lake, tmp_path, RESTATED, 3, "reissue", reason="reissue")
    assert (done.appended_rows, loaded_sha256(lake) == before) == (1, False)
