"""Data files written anew, without a JVM: the rows of several in one order."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from marketlake.lake.data_files import partition_text, statistics, write_groups, writer_options
from marketlake.lake.files import LakeFile


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
        _write(rows.slice(start, per_file), folder / f"part-{uuid.uuid4()}.parquet", names[0])
        for start in range(0, rows.num_rows, per_file)
    ]
    _commit(delta, files, written)
    delta.update_incremental()
    return len(written)


def _write(rows: pa.Table, path: Path, symbol: str) -> Path:
    with pq.ParquetWriter(path, rows.schema, **writer_options(rows.schema)) as writer:
        write_groups(writer, rows, symbol)
    return path


def _commit(delta: DeltaTable, files: Sequence[LakeFile], written: Sequence[Path]) -> None:
    now = int(time.time() * 1000)
    root = Path(delta.table_uri.removeprefix("file://"))
    partition = {name: None if value is None else partition_text(value) for name, value in files[0].partitions.items()}
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
    return AddAction(str(path.relative_to(root)), path.stat().st_size, partition, now, False, statistics(metadata))
