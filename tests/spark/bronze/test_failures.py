"""A load that cannot go on says why in one line, records it, and leaves nothing half-written."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.errors import PySparkRuntimeError

from marketlake import ledger
from marketlake.datasets import OHLCV
from spark_jobs.bronze import load
from spark_jobs.lib.delta_tables import bronze_spec, ensure_table
from tests.landed import kline, window
from tests.spark.lake import SparkLake

DAY = window("2024-01-01", "2024-01-02")
HOURS = [kline(f"2024-01-01T{hour:02}:00") for hour in range(24)]


def test_a_table_that_cannot_be_written_is_named_without_a_trace_and_loads_once_it_can(
    lake: SparkLake, caplog: pytest.LogCaptureFixture
) -> None:
    landing = lake.landing()
    landing.rest(HOURS, DAY)
    manifest = landing.seal()
    in_the_way = Path(lake.settings.lake_root, "bronze", "ohlcv", "exchange=binance")
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where the partition's folder belongs")

    with caplog.at_level(logging.INFO, logger="marketlake.load"):
        assert lake.load((landing, manifest)) == []

    state, why = lake.state(manifest)
    assert state == "failed"
    assert "exchange=binance" in (why or "")
    assert "\n" not in (why or "")
    assert not [entry for entry in caplog.records if entry.exc_info or "\tat " in entry.getMessage()]

    in_the_way.unlink()
    ledger.wait_again(lake.connection, [manifest.manifest_id])
    (again,) = lake.drain()
    assert (again.appended_rows, len(lake.rows("ohlcv", "revision"))) == (24, 24)


@pytest.fixture
def small_disk(lake: SparkLake) -> Iterator[Path]:
    """The bronze table of candles, made, on a disk of its own that has a megabyte."""
    table = Path(lake.settings.lake_root, "bronze", "ohlcv")
    table.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(table)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk that is full needs a mount, which this user may not make")
    try:
        ensure_table(lake.settings.lake_root, bronze_spec(OHLCV))
        yield table
    finally:
        subprocess.run(["umount", str(table)], check=True)


def test_a_full_disk_fails_the_manifest_in_words_and_a_repeat_loads_it(lake: SparkLake, small_disk: Path) -> None:
    landing = lake.landing()
    landing.rest(HOURS, DAY)
    manifest = landing.seal()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1 << 20))

    assert lake.load((landing, manifest)) == []

    state, why = lake.state(manifest)
    assert (state, (why or "").partition(":")[0]) == (
        "failed",
        f"no space left on the disk of {lake.settings.lake_root}",
    )
    filler.unlink()
    ledger.wait_again(lake.connection, [manifest.manifest_id])
    (again,) = lake.drain()
    assert (again.appended_rows, len(lake.rows("ohlcv", "revision"))) == (24, 24)


def test_a_landed_file_that_the_system_cannot_read_is_damaged_and_the_others_load(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, good = lake.landing(), lake.landing()
    held.rest(HOURS, DAY)
    manifest = held.seal()
    unreadable = Path(held.path)
    unreadable.unlink()
    unreadable.mkdir()  # opening a folder fails for every user
    good.sealed = 5
    good.rest(HOURS, DAY)

    done = lake.load((held, manifest), good)

    assert [record.manifest_state for record in done] == ["loaded"]
    state, why = lake.state(manifest)
    assert state == "damaged"
    assert f"{os.fspath(unreadable)} cannot be read" in (why or "")


def test_a_session_that_does_not_start_is_one_clear_error(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    landing = lake.landing()
    landing.rest(HOURS, DAY)
    ledger.register_manifest(lake.connection, landing.seal(), landing.path)

    def refuse(name: str, settings: object) -> None:
        raise PySparkRuntimeError(errorClass="JAVA_GATEWAY_EXITED", messageParameters={})

    monkeypatch.setattr(load, "build_session", refuse)

    assert load.main([]) == 1
    told = capsys.readouterr().err
    assert "error: Spark did not start with master local[2]: " in told
    assert "JAVA_GATEWAY_EXITED" in told
    assert "Traceback" not in told
    assert len(ledger.manifests_waiting(lake.connection)) == 1


def test_a_range_that_is_held_and_got_no_answer_this_time_fails_nothing(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest(HOURS, DAY)
    lake.load(landing)
    landing.silent(DAY)
    manifest = landing.seal()

    (record,) = lake.load((landing, manifest))

    assert (record.appended_rows, lake.state(manifest)) == (0, ("loaded", None))
    assert [tile.state for tile in lake.tiles("ohlcv", "ETH/USDT", "1h")] == ["present"]
