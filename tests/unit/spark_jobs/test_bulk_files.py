"""Tests for `spark_jobs.bronze.bulk_files` and for committing what it wrote, without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from marketlake.datasets import OHLCV
from marketlake.errors import DataError
from marketlake.lake.data_files import DataFile
from marketlake.lake.files import files_of, table_path
from marketlake.rules import rules_for
from marketlake.work import Market
from spark_jobs.bronze import bulk_files
from spark_jobs.bronze.bulk_audit import rows_to_audit
from spark_jobs.bronze.bulk_files import ACCEPTED, AUDITED, REJECTED, BulkLoad, conformed_schema, write_sources
from spark_jobs.bronze.conform import landed_sources
from spark_jobs.bronze.landed_rows import typed_batches
from spark_jobs.lib import delta_tables
from spark_jobs.lib.constraints import check_constraints, judging_engine
from spark_jobs.lib.delta_tables import LoadStamp, append_files_once, bronze_spec, ensure_table
from tests.landed import ETH, Landing, at, kline, window

SOL = Market("spot", "SOL/USDT", "SOLUSDT")
KNOWN = at("2026-05-03")
SPEC = bronze_spec(OHLCV)
HELD = (ACCEPTED, REJECTED, AUDITED)
SPAN = window("2024-01-31", "2024-02-02")


def hours(first: str, count: int, **change: Any) -> list[list[Any]]:
    start = at(first)
    return [kline(start.replace(hour=hour), **change) for hour in range(count)]


def written(landing: Landing, root: Path) -> tuple[dict[str, list[DataFile]], list[dict[str, Any]]]:
    """Return the files by what they hold, and the counts of each landed file."""
    load = BulkLoad(OHLCV, rules_for(OHLCV), ensure_table(str(root), SPEC), "l1", KNOWN)
    told = list(write_sources(load, landed_sources([landing.seal()], landing.area)))
    files = {name: [DataFile(**item["file"]) for item in told if item.get("holds") == name] for name in HELD}
    return files, [item["counts"] for item in told if "counts" in item]


def commit(root: Path, files: list[DataFile], rows: int) -> DeltaTable:
    append_files_once(files, str(root), SPEC, LoadStamp("l1", "run-1", rows, KNOWN, "m1"))
    return DeltaTable(table_path(str(root), SPEC.name))


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "lake")


def test_a_file_holds_one_partition_and_the_markets_of_it(landing: Landing, tmp_path: Path) -> None:
    for market in (ETH, SOL):
        landing.rest([*hours("2024-01-31", 24), *hours("2024-02-01", 3)], SPAN, market=market)

    files, _ = written(landing, tmp_path)

    accepted = files[ACCEPTED]
    assert files[REJECTED] == []
    months = [file.partition["partition_month"] for file in accepted]
    assert [(file.rows, file.parts) for file in accepted] == [
        (24, [(0, 24)]),
        (3, [(0, 3)]),
        (24, [(1, 24)]),
        (3, [(1, 3)]),
    ]
    assert months == ["2024-01", "2024-02", "2024-01", "2024-02"]


def test_committed_files_are_read_with_their_statistics(landing: Landing, tmp_path: Path) -> None:
    landing.rest(hours("2024-01-31", 24), SPAN, market=SOL)
    accepted = written(landing, tmp_path)[0][ACCEPTED]

    table = commit(tmp_path, accepted, 24)

    (file,) = files_of(table, SPEC.name, ["symbol", "open_time", "close"]).files
    assert (file.rows, file.bounds["symbol"]) == (24, ("SOL/USDT", "SOL/USDT"))
    assert file.bounds["open_time"][0] == at("2024-01-31")
    rows = pl.scan_delta(table_path(str(tmp_path), SPEC.name)).collect()
    assert set(rows.columns) == set(OHLCV.column_names)
    assert rows["close"].to_list() == [Decimal("105")] * 24
    assert rows.select("revision", "is_retracted", "load_id", "known_at").unique().rows() == [(0, False, "l1", KNOWN)]
    (commit_, *_) = table.history()
    assert commit_["operationMetrics"]["numOutputRows"] == "24"


def test_the_same_load_is_committed_once_and_other_rows_of_it_never(landing: Landing, tmp_path: Path) -> None:
    landing.rest(hours("2024-01-31", 24), SPAN, market=SOL)
    accepted = written(landing, tmp_path)[0][ACCEPTED]

    version = commit(tmp_path, accepted, 24).version()

    assert commit(tmp_path, [replace(accepted[0], path="again.parquet")], 24).version() == version
    with pytest.raises(DataError, match="holds load l1 with 24 typed rows, now there are 25"):
        commit(tmp_path, accepted, 25)


def test_a_load_that_another_process_commits_meanwhile_is_not_committed_twice(
    landing: Landing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing.rest(hours("2024-01-31", 24), SPAN, market=SOL)
    accepted = written(landing, tmp_path)[0][ACCEPTED]
    look = delta_tables._found_before

    def look_too_early(*arguments: Any) -> None:
        assert look(*arguments) is None
        monkeypatch.setattr(delta_tables, "_found_before", look)
        commit(tmp_path, accepted, 24)

    monkeypatch.setattr(delta_tables, "_found_before", look_too_early)

    with pytest.raises(CommitFailedError):
        commit(tmp_path, [replace(accepted[0], path="again.parquet")], 24)
    assert len(DeltaTable(table_path(str(tmp_path), SPEC.name)).file_uris()) == 1


def test_rejected_rows_go_aside_with_their_reasons_and_what_was_received(landing: Landing, tmp_path: Path) -> None:
    rows = hours("2024-01-31", 4)
    rows[1] = kline("2024-01-31T01:00", high="104")
    rows[2] = ["what"]
    landing.rest(rows, SPAN, market=SOL)

    files, (counts,) = written(landing, tmp_path)

    (bad,) = files[REJECTED]
    assert (sum(file.rows for file in files[ACCEPTED]), bad.rows) == (2, 2)
    assert counts["reasons"] == {"missing key": 1, "missing price": 1, "close not in range": 1, "negative volume": 1}
    told = pl.read_parquet(Path(table_path(str(tmp_path), SPEC.name)) / bad.path).sort("source_position")
    assert told["dlq_reasons"].to_list()[0] == ["close not in range"]
    assert told["raw_payload"].to_list()[1] == '["what"]'
    assert told["source_position"].to_list() == [1, 2]


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 2, 1]])
def test_rows_out_of_order_are_left_to_comparison(landing: Landing, tmp_path: Path, order: list[int]) -> None:
    rows = hours("2024-01-31", 3)
    landing.rest([rows[place] for place in order], SPAN, market=SOL)

    _, (counts,) = written(landing, tmp_path)

    assert "repeat others or are out of order" in counts["why_not"]


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("digest", lambda column: pa.nulls(len(column), pa.string()), "rows without digest"),
        ("source_position", lambda column: pa.nulls(len(column), pa.int64()), "rows without source_position"),
        ("source_position", lambda column: pa.repeat(column[0], len(column)), "not read in its order"),
    ],
)
def test_rows_whose_place_is_unknown_are_left_to_the_audit_of_all(
    landing: Landing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spoil: Any, says: str
) -> None:
    def spoilt(*arguments: Any, **more: Any) -> Iterator[pa.RecordBatch]:
        for batch in typed_batches(*arguments, **more):
            yield batch.set_column(batch.schema.get_field_index(name), name, spoil(batch.column(name)))

    monkeypatch.setattr(bulk_files, "typed_batches", spoilt)
    landing.rest(hours("2024-01-31", 3), SPAN, market=SOL)

    _, (counts,) = written(landing, tmp_path)

    assert says in counts["why_not"]


def test_rows_that_break_a_constraint_are_not_written(landing: Landing, tmp_path: Path) -> None:
    landing.rest(hours("2024-01-31", 3), SPAN, market=SOL)
    accepted = written(landing, tmp_path)[0][ACCEPTED]
    rows = commit(tmp_path, accepted, 3).to_pyarrow_table()
    broken = rows.set_column(rows.schema.get_field_index("high"), "high", rows.column("volume"))

    with judging_engine() as engine, pytest.raises(DataError, match="high_is_not_below_low fails in 3 rows"):
        check_constraints(engine, broken, SPEC)


def test_the_audit_sees_what_fails_what_repeats_and_what_is_newest(landing: Landing, tmp_path: Path) -> None:
    rows = [kline(at("2024-01-01") + timedelta(minutes=n), timeframe="1m") for n in range(1_000)]
    rows[500][2] = "2000000"  # a price that is flagged, not rejected
    landing.rest(rows, window("2024-01-01", "2024-01-02"), market=SOL, timeframe="1m")

    files, (counts,) = written(landing, tmp_path)

    ((accepted,), (audited,)) = files[ACCEPTED], files[AUDITED]
    seen = pl.read_parquet(Path(table_path(str(tmp_path), SPEC.name)) / audited.path)
    assert (accepted.rows, counts["flagged"], counts["flags"]) == (1_000, 1, {"price out of bounds": 1})
    assert seen["source_position"].to_list() == [500, *range(984, 1_000)]
    assert seen["window_end"].unique().to_list() == [at("2024-01-02")]
    assert set(seen.columns) == set(conformed_schema(OHLCV).names)


@pytest.mark.parametrize("spoilt", ["high", "open_time", "digest"])
def test_a_written_row_that_should_not_be_there_is_seen(landing: Landing, tmp_path: Path, spoilt: str) -> None:
    landing.rest(hours("2024-01-31", 24), SPAN, market=SOL)
    (file,) = written(landing, tmp_path)[0][ACCEPTED]
    path = Path(table_path(str(tmp_path), SPEC.name)) / file.path
    rows = pq.read_table(path, partitioning=None)
    column = rows.column(spoilt).to_pylist()
    column[3] = {"open_time": column[1], "high": Decimal("1"), "digest": None}[spoilt]
    field = rows.schema.field(spoilt)
    pq.write_table(rows.set_column(rows.schema.get_field_index(spoilt), field, pa.array(column, field.type)), path)

    with judging_engine() as engine:
        seen = rows_to_audit(engine, str(path.parents[3]), file, dataset=OHLCV, rules=rules_for(OHLCV))

    places = seen.column("source_position").to_pylist()
    # To the audit, rows with one key are one observation that is there twice.
    assert (places.count(1), places.count(3)) == ((2, 0) if spoilt == "open_time" else (0, 1))
