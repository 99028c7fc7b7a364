"""Tests for `marketlake.lake.compaction`: small files become few, rows stay."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from marketlake import Lake, ledger
from marketlake.datasets import OHLCV, TRADES
from marketlake.embedded_postgres import PostgresAddress
from marketlake.errors import DataError
from marketlake.instants import Window
from marketlake.lake import compaction, data_files
from marketlake.lake.compaction import compact_loads, compact_partitions, written_partitions
from marketlake.lake.files import STATED_COLUMNS, files_of, open_table, table_path
from marketlake.lake.rewriting import rewrite_files
from marketlake.ledger import Change, LoadRecord
from marketlake.settings import load_settings
from tests.lakes import commit, minutes, trade

PARTITION = {"exchange": "binance", "timeframe": "1h", "partition_month": "2024-01"}
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


def write_days(root: str, days: int, month: str = "2024-01") -> None:
    for day in range(days):
        times = [JANUARY + timedelta(days=day, hours=hour) for hour in range(24)]
        rows = {
            "exchange": ["binance"] * 24,
            "timeframe": ["1h"] * 24,
            "partition_month": [month] * 24,
            "symbol": ["BTC/USDT"] * 24,
            "open_time": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
        write_deltalake(
            table_path(root, OHLCV.table), pa.table(rows), mode="append", partition_by=list(OHLCV.partitioned_by)
        )


def test_the_small_files_of_a_partition_become_one_and_no_row_changes(tmp_path: Path) -> None:
    write_days(str(tmp_path), 10)
    path = table_path(str(tmp_path), OHLCV.table)
    before = DeltaTable(path).to_pyarrow_table().sort_by("open_time")

    assert compact_partitions(str(tmp_path), OHLCV.table, [PARTITION]) == (10, 1)

    table = DeltaTable(path)
    assert len(table.file_uris()) == 1
    assert table.to_pyarrow_table().sort_by("open_time").equals(before)


def write_noise(root: str, mebibytes: int, *, seed: int) -> None:
    """Append one file of about this size to the partition: numbers that no codec makes smaller."""
    rows = mebibytes * (1 << 20) // 8
    noise = np.random.default_rng(seed).integers(0, 1 << 63, rows)
    texts = {name: pa.array([value]).take(pa.array(np.zeros(rows, "int8"))) for name, value in PARTITION.items()}
    symbols = pa.array(["BTC/USDT"]).take(pa.array(np.zeros(rows, "int8")))
    table = pa.table({**texts, "symbol": symbols, "noise": noise})
    write_deltalake(table_path(root, "bronze.noise"), table, mode="append", partition_by=list(OHLCV.partitioned_by))


def test_files_of_a_compacted_partition_have_the_target_size(tmp_path: Path) -> None:
    for seed in range(8):
        write_noise(str(tmp_path), 5, seed=seed)
    for seed in range(8, 13):
        write_noise(str(tmp_path), 1, seed=seed)

    compact_partitions(str(tmp_path), "bronze.noise", [PARTITION])

    mebibytes = [
        Path(uri).stat().st_size / (1 << 20)
        for uri in DeltaTable(table_path(str(tmp_path), "bronze.noise")).file_uris()
    ]
    # What is left over after the full files may be smaller, but never tiny.
    smallest, *others = sorted(mebibytes)
    assert others
    assert 1 <= smallest <= 32
    assert [size for size in others if not 16 <= size <= 32] == []


def interleaved_candles(root: Path) -> None:
    """Commit a day of 1m of two symbols in four loads, latest first, the symbols in turn within each."""
    for quarter in reversed(range(4)):
        rows = minutes(JANUARY + timedelta(hours=6 * quarter), 360)
        others = [row | {"symbol": "AAA/USDT", "partition_asset_pair": "AAA/USDT"} for row in rows]
        commit(root, [row for both in zip(rows, others, strict=True) for row in both])


def test_a_compacted_file_is_sorted_and_a_row_group_holds_one_symbol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interleaved_candles(tmp_path)
    monkeypatch.setattr(data_files, "MAX_ROWS_PER_ROW_GROUP", 1_000)
    monkeypatch.setattr(data_files, "_LEAST_ROWS", 250)
    partition = {**PARTITION, "timeframe": "1m"}

    assert compact_partitions(str(tmp_path), OHLCV.table, [partition]) == (4, 1)

    (file,) = (Path(uri) for uri in DeltaTable(table_path(str(tmp_path), OHLCV.table)).file_uris())
    groups = [pq.ParquetFile(file).read_row_group(number, ["symbol", "open_time"]) for number in range(4)]
    assert [(group.num_rows, set(group["symbol"].to_pylist())) for group in groups] == [
        (1_000, {"AAA/USDT"}), (440, {"AAA/USDT"}), (1_000, {"BTC/USDT"}), (440, {"BTC/USDT"}),
    ]  # fmt: skip
    rows = pa.concat_tables(groups)
    assert rows.equals(rows.sort_by([("symbol", "ascending"), ("open_time", "ascending")]))


def test_the_log_of_a_compaction_states_bounds_and_that_no_data_changed(tmp_path: Path) -> None:
    interleaved_candles(tmp_path)
    before = Lake(tmp_path).candles("BTC/USDT", "1m", exact=True)

    compact_partitions(str(tmp_path), OHLCV.table, [{**PARTITION, "timeframe": "1m"}])

    table = open_table(str(tmp_path), OHLCV.table)
    (file,) = files_of(table, OHLCV.table, [*STATED_COLUMNS, "open_time", "close"]).files
    assert file.rows == 2 * 1440
    assert file.bounds["symbol"] == ("AAA/USDT", "BTC/USDT")
    assert file.bounds["open_time"][0] == JANUARY
    assert file.bounds["open_time"][1] - (JANUARY + timedelta(minutes=1439)) == timedelta(milliseconds=1)
    assert file.bounds["revision"] == (0, 0)
    log = Path(table_path(str(tmp_path), OHLCV.table)) / "_delta_log" / f"{table.version():020}.json"
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    changes = [entry[kind]["dataChange"] for entry in entries for kind in ("add", "remove") if kind in entry]
    assert changes == [False] * 5
    assert Lake(tmp_path).candles("BTC/USDT", "1m", exact=True) == before


def test_a_partition_whose_rows_would_change_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(str(tmp_path), 3)
    path = table_path(str(tmp_path), OHLCV.table)
    before = DeltaTable(path)
    files, rows = set(before.file_uris()), before.to_pyarrow_table().sort_by("open_time")

    def garble(delta: DeltaTable, *given: Any, **options: Any) -> int:
        """Rewrites, and changes one value on the way; the number of rows stays."""
        count = rewrite_files(delta, *given, **options)
        changed = rows.set_column(
            rows.schema.get_field_index("symbol"), "symbol", pa.array(["ETH/USDT", *["BTC/USDT"] * 71])
        )
        write_deltalake(delta, changed, mode="overwrite")
        return count

    monkeypatch.setattr(compaction, "rewrite_files", garble)
    with pytest.raises(DataError, match=r"changed the content of binance/1h/2024-01 .* restored to version 2"):
        compact_partitions(str(tmp_path), OHLCV.table, [PARTITION])

    assert set(DeltaTable(path).file_uris()) == files
    assert DeltaTable(path).to_pyarrow_table().sort_by("open_time").equals(rows)


def test_a_partition_of_one_file_is_left_alone_and_so_are_others(tmp_path: Path) -> None:
    write_days(str(tmp_path), 3, month="2024-02")
    write_days(str(tmp_path), 1)
    version = DeltaTable(table_path(str(tmp_path), OHLCV.table)).version()

    assert compact_partitions(str(tmp_path), OHLCV.table, [PARTITION]) == (0, 0)

    assert DeltaTable(table_path(str(tmp_path), OHLCV.table)).version() == version


def test_a_lake_without_the_table_has_nothing_to_compact(tmp_path: Path) -> None:
    assert compact_partitions(str(tmp_path), OHLCV.table, [PARTITION]) == (0, 0)


@pytest.mark.usefixtures("postgres")
def test_the_months_that_loads_changed_are_compacted() -> None:
    settings = load_settings()
    write_days(settings.lake_root, 4)
    window = Window(JANUARY, JANUARY + timedelta(days=4))
    record = LoadRecord(
        load_id="l1",
        table=OHLCV.table,
        dataset="ohlcv",
        exchange="binance",
        manifest_id=None,
        run_id="run-1",
        delta_version=3,
        changes=(Change("ohlcv", "binance", "BTC/USDT", "1h", window),),
    )
    with ledger.connect(settings) as connection:
        ledger.record_load(connection, record)

        assert written_partitions(connection, OHLCV, ["l1"]) == [PARTITION]
        assert compact_loads(settings, connection, ["l1"]) == {OHLCV.table: {"files_before": 4, "files_after": 1}}
        assert "skipped" in compact_loads(settings, connection, ["l1", "l2"])


def write_trades(root: str, days: int, *, loads: int) -> None:
    """Commit a trade an hour of each day, in as many loads."""
    for load in range(loads):
        hours = range(load, 24 * days, loads)
        rows = [trade(JANUARY + timedelta(hours=hour), hour) for hour in hours]
        commit(Path(root), rows, dataset=TRADES)


@pytest.mark.usefixtures("postgres")
def test_days_of_trades_are_compacted_each_in_itself_and_only_those_that_changed() -> None:
    settings = load_settings()
    write_trades(settings.lake_root, 3, loads=2)
    path = table_path(settings.lake_root, TRADES.table)
    before = DeltaTable(path).to_pyarrow_table().sort_by("event_time")
    change = Change("trades", "binance", "BTC/USDT", "", Window(JANUARY, JANUARY + timedelta(days=2)))
    record = LoadRecord("l1", TRADES.table, "trades", "binance", None, "run-1", delta_version=1, changes=(change,))
    with ledger.connect(settings) as connection:
        ledger.record_load(connection, record)

        days = [partition["partition_date"] for partition in written_partitions(connection, TRADES, ["l1"])]
        assert days == ["2024-01-01", "2024-01-02"]
        assert compact_loads(settings, connection, ["l1"]) == {TRADES.table: {"files_before": 4, "files_after": 2}}

    table = DeltaTable(path)
    assert len(table.file_uris()) == 4
    assert table.to_pyarrow_table().sort_by("event_time").equals(before)


def test_a_partition_named_in_part_stands_for_each_that_it_holds(tmp_path: Path) -> None:
    write_trades(str(tmp_path), 3, loads=2)
    path = table_path(str(tmp_path), TRADES.table)
    before = DeltaTable(path).to_pyarrow_table().sort_by("event_time")

    assert compact_partitions(str(tmp_path), TRADES.table, [{"exchange": "binance"}]) == (6, 3)

    assert DeltaTable(path).to_pyarrow_table().sort_by("event_time").equals(before)


def test_a_range_over_a_new_year_names_each_month(postgres: PostgresAddress) -> None:
    settings = load_settings()
    window = Window(datetime(2024, 11, 30, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC))
    change = Change("ohlcv", "binance", "BTC/USDT", "1h", window)
    record = LoadRecord("l1", OHLCV.table, "ohlcv", "binance", None, "run-1", delta_version=0, changes=(change,))
    with ledger.connect(settings) as connection:
        ledger.record_load(connection, record)

        months = [partition["partition_month"] for partition in written_partitions(connection, OHLCV, ["l1"])]

    assert months == ["2024-11", "2024-12", "2025-01"]
