"""Tests for `marketlake.lake.data_files`."""

from __future__ import annotations

from pathlib import Path

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
