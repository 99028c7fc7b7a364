"""Tests for `marketlake.lake.data_files`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketlake.lake import data_files
from marketlake.lake.data_files import DataFileWriter

SCHEMA = pa.schema([("symbol", pa.string()), ("number", pa.int64())])


def row_groups(path: Path) -> list[tuple[set[str], int]]:
    """Return the symbols and rows of each row group."""
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    return [(set(group.column("symbol").to_pylist()), group.num_rows) for group in groups]


@pytest.mark.parametrize("batch_rows", [7, 90, 1_000])
def test_row_groups_end_where_a_symbol_ends_however_the_rows_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(data_files, "MAX_ROWS_PER_ROW_GROUP", 100)
    monkeypatch.setattr(data_files, "_LEAST_ROWS", 25)
    monkeypatch.setattr(data_files, "_WAITING_ROWS", 250)
    symbols = ["A"] * 460 + ["B"] * 30 + ["C"] * 100
    rows = pa.table({"symbol": symbols, "number": range(len(symbols))}, schema=SCHEMA)

    writer = DataFileWriter(str(tmp_path), SCHEMA)
    for start in range(0, rows.num_rows, batch_rows):
        writer.write(rows.slice(start, batch_rows))
    (file,) = writer.close()

    path = tmp_path / file.path
    assert row_groups(path) == [*[({"A"}, 100)] * 4, ({"A"}, 60), ({"B"}, 30), ({"C"}, 100)]
    assert pq.read_table(path).equals(rows)
    assert (file.rows, file.parts) == (590, [(0, 590)])


def test_each_column_is_packed_as_it_is_read_fastest_and_other_readers_read_it(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("symbol", pa.string()),
            ("digest", pa.string()),
            ("open_time", pa.timestamp("us", "UTC")),
            ("close", pa.decimal128(28, 12)),
            ("trade_count", pa.int64()),
            ("reasons", pa.list_(pa.string())),
        ]
    )
    rows = pa.table(
        {
            "symbol": ["BTC/USDT"] * 3,
            "digest": ["v1:a", "v1:b", "v1:c"],
            "open_time": [datetime(2024, 1, 1, 0, minute, tzinfo=UTC) for minute in range(3)],
            "close": [Decimal("-0.000000000001"), Decimal("9999999999999999.999999999999"), Decimal(0)],
            "trade_count": [7, None, -1],
            "reasons": [["a", "b"], [], None],
        },
        schema=schema,
    )
    writer = DataFileWriter(str(tmp_path), schema)
    writer.write(rows)
    (file,) = writer.close()

    path = tmp_path / file.path
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    packed = {
        column.path_in_schema: (column.compression, *(set(column.encodings) - {"RLE", "PLAIN"})) for column in columns
    }
    assert packed == {
        "symbol": ("ZSTD", "RLE_DICTIONARY"),
        "digest": ("ZSTD",),
        "open_time": ("ZSTD", "DELTA_BINARY_PACKED"),
        "close": ("LZ4",),
        "trade_count": ("ZSTD", "DELTA_BINARY_PACKED"),
        "reasons.list.element": ("ZSTD",),
    }
    assert pl.read_parquet(path).to_arrow().cast(schema).equals(rows)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        assert connection.read_parquet(str(path)).to_arrow_table().cast(schema).equals(rows)
