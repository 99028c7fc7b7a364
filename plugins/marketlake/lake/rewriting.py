"""Data files written anew, without a JVM: the rows of several in one order, in row groups that end where a symbol ends.

A reader decodes whole row groups, so a group that holds one symbol costs a reader of another symbol nothing.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from marketlake.datasets.columns import MAX_ROWS_PER_ROW_GROUP
from marketlake.lake.files import LakeFile

# A group is not ended for a symbol that has fewer rows.
_LEAST_ROWS = MAX_ROWS_PER_ROW_GROUP // 4
# Statistics of longer texts would have to be cut, and those of a digest say nothing.
_LONGEST_STATED = 32
# Texts that differ in every row gain nothing from a dictionary.
_DISTINCT_TEXTS = ("digest", "trade_id")


def rewrite_files(delta: DeltaTable, files: Sequence[LakeFile], *, sorted_by: Sequence[str], target_bytes: int) -> int:
    """Replace files of one partition by files of about the target's size; return how many. Changes no row.

    The rows come in the order of these columns, of which the first is the symbol; rows that are equal in them keep
    theirs. One transaction, marked as one that changes no data.

    Raises:
        ValueError: the files are of several partitions, whose values are not in their rows.
    """
    if any(file.partitions != files[0].partitions for file in files):
        raise ValueError(f"files of several partitions cannot become one: {[dict(file.partitions) for file in files]}")
    schema = pa.schema(delta.schema().to_arrow())
    names = [name for name in sorted_by if name in schema.names]
    stored = pa.schema([field for field in schema if field.name not in files[0].partitions])
    rows = pads.dataset([file.path for file in files], schema=stored, format="parquet").to_table()
    rows = rows.sort_by([(name, "ascending") for name in names]).combine_chunks()
    folder = Path(files[0].path).parent
    count = max(1, round(sum(file.bytes for file in files) / target_bytes))
    per_file = -(-rows.num_rows // count)
    written = [
        _write(rows.slice(start, per_file), folder / f"part-{uuid.uuid4()}.zstd.parquet", names[0])
        for start in range(0, rows.num_rows, per_file)
    ]
    _commit(delta, files, written)
    delta.update_incremental()
    return len(written)


def _write(rows: pa.Table, path: Path, symbol: str) -> Path:
    texts = [f.name for f in rows.schema if pa.types.is_string(f.type) and f.name not in _DISTINCT_TEXTS]
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": texts, "store_schema": False}
    with pq.ParquetWriter(path, rows.schema, **options) as writer:
        for start, end in _groups(rows.column(symbol)):
            writer.write_table(rows.slice(start, end - start), row_group_size=MAX_ROWS_PER_ROW_GROUP)
    return path


def _groups(symbols: pa.ChunkedArray) -> Iterator[tuple[int, int]]:
    """Yield where row groups start and end: full ones within a symbol, shorter ones at its end."""
    codes = symbols.combine_chunks().dictionary_encode().indices.to_numpy()
    start = 0
    for end in [*(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]:
        while end - start > MAX_ROWS_PER_ROW_GROUP:
            yield start, start + MAX_ROWS_PER_ROW_GROUP
            start += MAX_ROWS_PER_ROW_GROUP
        if end - start >= _LEAST_ROWS or end == len(codes):
            yield start, end
            start = end


def _commit(delta: DeltaTable, files: Sequence[LakeFile], written: Sequence[Path]) -> None:
    now = int(time.time() * 1000)
    root = Path(delta.table_uri.removeprefix("file://"))
    partition = {name: _partition_text(value) for name, value in files[0].partitions.items()}
    gone = {str(Path(file.path).relative_to(root)): file.bytes for file in files}
    delta.create_write_transaction(
        [
            *(RemoveAction(path, False, now, size, partition) for path, size in gone.items()),
            *(_added(path, root, partition, now) for path in written),
        ],
        mode="append",
        schema=delta.schema(),
        partition_by=list(partition),
        commit_properties=CommitProperties(
            custom_metadata={
                "operationMetrics": {"numFilesRemoved": str(len(files)), "numFilesAdded": str(len(written))},
            }
        ),
    )


def _added(path: Path, root: Path, partition: Mapping[str, str | None], now: int) -> AddAction:
    metadata = pq.read_metadata(path)
    return AddAction(str(path.relative_to(root)), path.stat().st_size, partition, now, False, _statistics(metadata))


def _partition_text(value: object) -> str | None:
    return None if value is None else value.isoformat() if isinstance(value, date) else str(value)


def _statistics(metadata: pq.FileMetaData) -> str:
    """Return Delta's statistics of a file, from the file's own."""
    lowest, highest, nulls = dict[str, str](), dict[str, str](), dict[str, int]()
    for place in range(metadata.num_columns):
        groups = [metadata.row_group(number).column(place) for number in range(metadata.num_row_groups)]
        name, stated = groups[0].path_in_schema, [group.statistics for group in groups]
        if "." in name or not all(stated):
            continue
        nulls[name] = sum(one.null_count for one in stated)
        bounds = [(one.min, one.max) for one in stated if one.has_min_max]
        if bounds and _is_stated(bounds[0][0]) and all(_is_stated(high) for _, high in bounds):
            lowest[name] = _json_value(min(low for low, _ in bounds))
            highest[name] = _json_value(max(high for _, high in bounds))
    return (
        f'{{"numRecords":{metadata.num_rows},"minValues":{_json(lowest)},"maxValues":{_json(highest)},'
        f'"nullCount":{json.dumps(nulls)}}}'
    )


def _is_stated(value: object) -> bool:
    # Delta has no bounds of booleans.
    return not isinstance(value, bool | bytes) and not (isinstance(value, str) and len(value) > _LONGEST_STATED)


def _json(values: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in values.items()) + "}"


def _json_value(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        # Cut to milliseconds as Spark does; readers allow for it.
        utc = value.astimezone(UTC)
        return f'"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z"'
    return json.dumps(value.isoformat() if isinstance(value, date) else value)
