"""Delta tables of the lake: how they are made, and how a load commits to one exactly once.

Tables are made and their log is asked without Spark (delta-rs), which costs milliseconds; rows are written by Spark, or
come as files that Arrow wrote.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, Schema
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, CommitProperties, Transaction
from pyspark.sql import DataFrame

from marketlake.datasets import Column, Dataset
from marketlake.errors import DataError
from marketlake.instants import format_instant, parse_instant
from marketlake.lake.data_files import DataFile
from marketlake.lake.files import table_path
from marketlake.lake.schemas import ARROW_TYPES

# Readable by every engine: no deletion vectors, no column mapping. Ids of loads outlive the rows of the log.
PROPERTIES = {
    "delta.deletedFileRetentionDuration": "interval 30 days",
    "delta.logRetentionDuration": "interval 30 days",
    "delta.setTransactionRetentionDuration": "interval 90 days",
    "delta.enableDeletionVectors": "false",
    "delta.targetFileSize": "25165824",
    "delta.dataSkippingNumIndexedCols": "40",
    # CHECK constraints need this much of a writer.
    "delta.minWriterVersion": "3",
}
# Mostly the newest commit is the one that is looked for.
_FIRST_COMMITS = 4


@dataclass(frozen=True)
class TableSpec:
    """A table as the registry wants it; `constraints` are CHECKs by name."""

    name: str
    columns: tuple[Column, ...]
    partitioned_by: tuple[str, ...]
    sorted_by: tuple[str, ...]
    doc: str
    constraints: tuple[tuple[str, str], ...] = ()

    @property
    def column_names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]


@dataclass(frozen=True)
class Commit:
    """A committed append: the version that it made, the rows it added, and whether it was found there already.

    `known_at` is the instant that its rows carry: that of the first commit, whoever repeats it.
    """

    version: int
    rows: int
    known_at: datetime
    is_repeat: bool


@dataclass(frozen=True)
class Appended:
    """What the log says of a load: its version, rows as they were typed, rows that it added; None where it is silent.

    Ids of loads outlive the rows of the log.
    """

    version: int | None = None
    typed_rows: int | None = None
    rows: int | None = None
    known_at: datetime | None = None
    manifest_id: str | None = None


def bronze_spec(dataset: Dataset) -> TableSpec:
    """Return the bronze table of a dataset. CHECKs are the last line behind the split (LAKE-09)."""
    names = set(dataset.column_names)
    checks = {
        "high_is_not_below_low": ("high >= low", {"high", "low"}),
        "volume_is_not_negative": ("volume >= 0", {"volume"}),
        "revision_is_not_negative": ("revision >= 0", {"revision"}),
    }
    return TableSpec(
        name=dataset.table,
        columns=dataset.columns,
        partitioned_by=dataset.partitioned_by,
        sorted_by=dataset.sorted_by,
        doc=dataset.doc,
        constraints=tuple((name, check) for name, (check, reads) in checks.items() if reads <= names),
    )


def ensure_table(root: str, spec: TableSpec) -> str:
    """Return the path of the table; it is made in one commit if it is not there.

    Nullable columns that the registry gained since are added, in one commit; older rows have null in them.

    Raises:
        DataError: the registry gained a column that may not be null, which rows that are there cannot satisfy.
    """
    path = table_path(root, spec.name)
    table = _open(path)
    if table is None:
        _create(path, spec)
    else:
        _add_columns(table, spec)
    return path


@dataclass(frozen=True)
class LoadStamp:
    """What a commit says of the load that made it; the id keeps a repeat from being written again."""

    load_id: str
    run_id: str
    typed_rows: int
    known_at: datetime
    manifest_id: str | None = None

    @property
    def metadata(self) -> str:
        """The commit's user metadata, JSON."""
        return json.dumps({**asdict(self), "known_at": format_instant(self.known_at)})


def append_once(frame: DataFrame, root: str, spec: TableSpec, stamp: LoadStamp) -> Commit:
    """Append the frame under the load's transaction id; a load that is there already is not written again.

    Raises:
        DataError: the frame's columns are not the table's, or the id is there with another count of typed rows.
    """
    path = ensure_table(root, spec)
    check_columns(frame, spec)
    found = _found_before(DeltaTable(path), spec, stamp)
    if found is not None:
        return _commit(path, found, stamp, rows=found.rows if found.rows is not None else frame.count())
    (
        frame.select(*spec.column_names)
        .repartition(*spec.partitioned_by)
        .sortWithinPartitions(*spec.partitioned_by, *spec.sorted_by)
        .write.format("delta")
        .mode("append")
        .option("txnAppId", stamp.load_id)
        .option("txnVersion", 0)
        .option("userMetadata", stamp.metadata)
        .save(path)
    )
    return _just_committed(path, spec, stamp)


def append_files_once(files: Sequence[DataFile], root: str, spec: TableSpec, stamp: LoadStamp) -> Commit:
    """Make written files part of the table, all in one transaction under the load's id, or none where it is there.

    Raises:
        DataError: the id is there with another count of typed rows.
        CommitFailedError: another process committed the id meanwhile, so this one has lost its lease.
    """
    path = ensure_table(root, spec)
    rows = sum(file.rows for file in files)
    # One version is asked for the id and committed upon: what came after it with the same id is a conflict.
    table = DeltaTable(path)
    found = _found_before(table, spec, stamp)
    if found is not None:
        return _commit(path, found, stamp, rows=rows if found.rows is None else found.rows)
    now = int(time.time() * 1000)
    table.create_write_transaction(
        [AddAction(file.path, file.bytes, file.partition, now, True, file.stats) for file in files],
        mode="append",
        schema=table.schema(),
        partition_by=list(spec.partitioned_by),
        commit_properties=CommitProperties(
            custom_metadata={
                "userMetadata": stamp.metadata,
                "operationMetrics": {"numFiles": str(len(files)), "numOutputRows": str(rows)},
            },
            app_transactions=[Transaction(stamp.load_id, 0, now)],
        ),
    )
    return _just_committed(path, spec, stamp)


def _found_before(table: DeltaTable, spec: TableSpec, stamp: LoadStamp) -> Appended | None:
    found = _load_in(table, stamp.load_id)
    if found is not None and found.typed_rows not in (stamp.typed_rows, None):
        raise DataError(
            f"{spec.name} holds load {stamp.load_id} with {found.typed_rows} typed rows, now there are "
            f"{stamp.typed_rows}: the landed files or the conformer changed without a new version"
        )
    return found


def _just_committed(path: str, spec: TableSpec, stamp: LoadStamp) -> Commit:
    done = committed_load(path, stamp.load_id)
    if done is None or done.rows is None:
        raise DataError(f"{spec.name} does not hold load {stamp.load_id}, which was just committed to it")
    return _commit(path, done, stamp, rows=done.rows, is_repeat=False)


def _commit(path: str, found: Appended, stamp: LoadStamp, *, rows: int, is_repeat: bool = True) -> Commit:
    version = DeltaTable(path).version() if found.version is None else found.version
    return Commit(version, rows, found.known_at or stamp.known_at, is_repeat)


def committed_load(path: str, load_id: str) -> Appended | None:
    """Return what the table's log says of a load, None where it does not hold it."""
    table = _open(path)
    return None if table is None else _load_in(table, load_id)


def _load_in(table: DeltaTable, load_id: str) -> Appended | None:
    if table.transaction_version(load_id) is None:
        return None
    for commit in _newest_commits(table):
        try:
            metadata = json.loads(commit.get("userMetadata") or "{}")
        except ValueError:
            continue
        if isinstance(metadata, dict) and metadata.get("load_id") == load_id:
            rows = commit.get("operationMetrics", {}).get("numOutputRows")
            known_at = metadata.get("known_at")
            return Appended(
                version=int(commit["version"]),
                typed_rows=int(metadata["typed_rows"]),
                rows=None if rows is None else int(rows),
                known_at=parse_instant(known_at) if known_at else None,
                manifest_id=metadata.get("manifest_id"),
            )
    return Appended()


def _newest_commits(table: DeltaTable) -> Iterator[dict[str, Any]]:
    """Yield what the log says of its commits, newest first; it is read only as far as it is asked for."""
    told, wanted = 0, _FIRST_COMMITS
    while True:
        commits = table.history(wanted)
        yield from commits[told:]
        if len(commits) < wanted:
            return
        told, wanted = len(commits), wanted * 8


def check_columns(frame: DataFrame, spec: TableSpec) -> None:
    """Do nothing if the frame has exactly the table's columns and types; nullability is the table's to enforce.

    Raises:
        DataError: it has not; the text names each difference.
    """
    found = dict(frame.dtypes)
    wanted = {column.name: column.spark_type for column in spec.columns}
    problems = [
        f"{name} is {found[name]}, the table has {wanted[name]}"
        for name in wanted
        if found.get(name) not in (wanted[name], None)
    ]
    problems += [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} is not a column of the table" for name in found if name not in wanted]
    if problems:
        raise DataError(f"rows for {spec.name} do not fit its schema, nothing is written: {'; '.join(problems)}")


def _open(path: str) -> DeltaTable | None:
    try:
        return DeltaTable(path)
    except TableNotFoundError:
        return None


def _add_columns(table: DeltaTable, spec: TableSpec) -> None:
    held = {field.name for field in table.schema().fields}
    new = [column for column in spec.columns if column.name not in held]
    if not new:
        return
    required = [column.name for column in new if not column.is_nullable]
    if required:
        raise DataError(
            f"{spec.name} has rows without {', '.join(required)}, which may not be null; rebuild the table, or declare "
            "the column nullable"
        )
    table.alter.add_columns(Schema.from_arrow(pa.schema([arrow_field(column) for column in new])).fields)


def arrow_field(column: Column) -> pa.Field:
    """Return a column as a table is made with it."""
    return pa.field(column.name, ARROW_TYPES[column.type], column.is_nullable, metadata={"comment": column.doc})


def _create(path: str, spec: TableSpec) -> None:
    fields = [arrow_field(column) for column in spec.columns]
    checks = {f"delta.constraints.{name}": check for name, check in spec.constraints}
    DeltaTable.create(
        path,
        schema=pa.schema(fields),
        mode="ignore",
        partition_by=list(spec.partitioned_by),
        name=spec.name.partition(".")[2],
        description=spec.doc,
        configuration={**PROPERTIES, **checks},
        raise_if_key_not_exists=False,
    )
