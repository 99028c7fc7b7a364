"""Landed archives to finished data files of a bronze table, inside an executor: type, judge, digest, write.

The rules are those of every load, asked in DuckDB. What is written is nobody's until the driver commits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.datasets import Dataset
from marketlake.errors import DataError
from marketlake.lake.data_files import DataFileWriter
from marketlake.lake.schemas import ARROW_TYPES, arrow_schema
from marketlake.rules import NEEDED_PROVENANCE, Dialect, RowRule, RuleSet
from spark_jobs.bronze.bulk_audit import conformed, rows_to_audit
from spark_jobs.bronze.landed_rows import EXTRA_COLUMNS, KEPT, LandedSource, typed_batches, typed_columns
from spark_jobs.lib.constraints import check_constraints, judging_engine
from spark_jobs.lib.delta_tables import bronze_spec
from spark_jobs.lib.quality import FLAGS, REASONS

_INSTANT = pa.timestamp("us", "UTC")
_ARROW_OF_SPARK = {
    "int": pa.int32(),
    "bigint": pa.int64(),
    "string": pa.string(),
    "timestamp": _INSTANT,
}


# What a written file holds.
ACCEPTED, REJECTED, AUDITED = "accepted", "rejected", "audited"


@dataclass(frozen=True)
class BulkLoad:
    """What all executors of one load know: the rules, where the files go, and what the commit stamps.

    `attempt` is in the names of all files that this attempt at the load writes, and of no others.
    """

    dataset: Dataset
    rules: RuleSet
    folder: str
    load_id: str
    known_at: datetime
    attempt: str = field(default_factory=lambda: uuid4().hex[:16])


@dataclass
class SourceCounts:
    """What became of one landed file: its rows by fate, rejected and flagged ones by reason.

    `first_key` and `last_key` are ids, or µs since 1970 of key times, of the judged rows, which come in their order.
    `why_not` says why its rows need what only the plain path does; then nothing else counts.
    """

    answer_no: int
    fates: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    flagged: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    first_received_us: int | None = None
    first_key: int | None = None
    last_key: int | None = None
    why_not: str | None = None


class _NeedsComparisonError(DataError):
    """What a row is cannot be told without all others: it repeats one, or does not say where it came from."""


def import_writers(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Return the rows as they are: to find this module a worker imports it, and here what Arrow imports when used."""
    import pandas  # noqa: F401  # for its effect

    yield from rows


def write_sources(load: BulkLoad, sources: Sequence[LandedSource]) -> Iterator[dict[str, Any]]:
    """Yield `{"counts": …}` for each landed file, `{"file": …, "holds": …}` for each file of rows.

    Accepted rows go to files of the table. Rejected ones go to files of their own, with everything that the queue of
    dead letters keeps; and so do, once more, those of the accepted rows that the audit has to see.
    """
    dataset, schema = load.dataset, conformed_schema(load.dataset)
    accepted = DataFileWriter(load.folder, arrow_schema(dataset), dataset.partitioned_by, name=f"part-{load.attempt}")
    aside = {name: DataFileWriter(load.folder, schema, name=f"{name}-{load.attempt}") for name in (REJECTED, AUDITED)}
    counts = dict[int, SourceCounts]()
    with judging_engine() as engine:
        for source in sources:
            judge = _SourceJudge(load, source, engine)
            counts[source.answer_no] = judge.counts
            try:
                for rows in judge.accepted_rows():
                    accepted.write(rows, source.answer_no)
                aside[REJECTED].write(judge.rejected_rows(), source.answer_no)
            except _NeedsComparisonError as error:
                judge.counts.why_not = str(error)
        files = accepted.close()
        for file in files:
            rows = rows_to_audit(engine, load.folder, file, dataset=dataset, rules=load.rules)
            _count_flags(rows, counts)
            aside[AUDITED].write(conformed(rows, schema, sources))
    yield from ({"counts": asdict(one)} for one in counts.values())
    yield from ({"file": asdict(file), "holds": ACCEPTED} for file in files)
    for name, writer in aside.items():
        yield from ({"file": asdict(file), "holds": name} for file in writer.close())


def _count_flags(rows: pa.Table, counts: Mapping[int, SourceCounts]) -> None:
    """Add the flagged ones of accepted rows; they are all among those that the audit has to see."""
    for number, flags in zip(rows.column("answer_no").to_pylist(), rows.column(FLAGS).to_pylist(), strict=True):
        if flags:
            counts[number].flagged += 1
            _add(counts[number].flags, dict.fromkeys(flags, 1))


def conformed_schema(dataset: Dataset) -> pa.Schema:
    """Return the schema of conformed rows with their reasons."""
    own = [(column.name, ARROW_TYPES[column.type]) for column in typed_columns(dataset)]
    extra = [(name, _ARROW_OF_SPARK[kind]) for name, kind in EXTRA_COLUMNS.items()]
    texts = pa.list_(pa.string())
    return pa.schema([*own, *extra, ("place", pa.int32()), (REASONS, texts), (FLAGS, texts)])


class _SourceJudge:
    """The rows of one landed file, judged batch by batch."""

    def __init__(self, load: BulkLoad, source: LandedSource, engine: duckdb.DuckDBPyConnection) -> None:
        self.counts = SourceCounts(source.answer_no)
        self._load, self._source, self._engine = load, source, engine
        self._rejected = list[pa.Table]()
        self._last_position = -1

    def accepted_rows(self) -> Iterator[pa.Table]:
        """Yield the accepted rows as they are stored; the rejected ones are kept aside."""
        for batch in typed_batches(self._load.dataset, self._source, with_payload=False):
            kept = self._kept(pa.Table.from_batches([batch]))
            self._check_provenance(kept)
            self._check_order(kept)
            yield self._stored(self._judged(kept))

    def rejected_rows(self) -> pa.Table:
        """Return the rejected rows, with their payload: the file is read again for it."""
        schema = conformed_schema(self._load.dataset)
        if not self._rejected:
            return schema.empty_table()
        rows = pa.concat_tables(self._rejected)
        positions = rows.column("source_position").combine_chunks()
        wanted = [
            pa.table({name: batch.column(name) for name in ("source_position", "raw_payload")}).filter(
                pc.is_in(batch.column("source_position"), value_set=positions)
            )
            for batch in typed_batches(self._load.dataset, self._source)
        ]
        found = pa.concat_tables(wanted)
        payloads = found.column("raw_payload").take(
            pc.index_in(positions, found.column("source_position").combine_chunks())
        )
        place = rows.schema.get_field_index("raw_payload")
        return rows.set_column(place, "raw_payload", payloads).select(schema.names).cast(schema)

    def _kept(self, rows: pa.Table) -> pa.Table:
        fates = {item["values"]: item["counts"] for item in rows.column("fate").value_counts().to_pylist()}
        _add(self.counts.fates, fates)
        return rows if set(fates) <= {KEPT} else rows.filter(pc.equal(rows.column("fate"), KEPT))

    def _judged(self, rows: pa.Table) -> pa.Table:
        """Count the rejected rows by reason and put them aside, return the others."""
        rules, engine = self._load.rules, self._engine
        rejects = _failed(rules, rules.rejecting)
        engine.register("judged_rows", rows)
        (rejected,) = _counted(engine, [rejects])
        if not rejected:
            return rows
        self.counts.rejected += rejected
        for counts, group in ((self.counts.reasons, rules.rejecting), (self.counts.flags, rules.flagging)):
            _add(counts, _by_reason(engine, rules, group, rejects))
        reasons = ", ".join(
            f"{rules.reasons_sql(group, Dialect.DUCKDB)} as {name}"
            for name, group in ((REASONS, rules.rejecting), (FLAGS, rules.flagging))
        )
        self._rejected.append(
            engine.sql(f"select *, 1::integer as place, {reasons} from judged_rows where {rejects}").to_arrow_table()
        )
        return engine.sql(f"select * from judged_rows where not ({rejects})").to_arrow_table()

    def _check_provenance(self, rows: pa.Table) -> None:
        """Do nothing if each row says where it came from, and none comes from the place of another."""
        if not rows.num_rows:
            return
        lacking = [name for name in NEEDED_PROVENANCE if rows.column(name).null_count]
        if lacking:
            raise _NeedsComparisonError(f"{self._source.file.source_ref} has rows without {', '.join(lacking)}")
        positions = rows.column("source_position").to_numpy()
        if positions[0] <= self._last_position or (np.diff(positions) <= 0).any():
            raise _NeedsComparisonError(f"{self._source.file.source_ref} was not read in its order")
        self._last_position = int(positions[-1])
        first_us = pc.min(rows.column("received_at")).cast(pa.int64()).as_py()
        self.counts.first_received_us = min(first_us, self.counts.first_received_us or first_us)

    def _check_order(self, rows: pa.Table) -> None:
        """Do nothing if each row's key comes after the one before; a row without a key is nobody's repeat."""
        dataset, counts = self._load.dataset, self.counts
        column = rows.column(dataset.id_column or dataset.time_column).combine_chunks()
        try:
            numbers = column.cast(pa.int64()).drop_null().to_numpy()
        except pa.ArrowInvalid:
            raise _NeedsComparisonError(f"{self._source.file.source_ref} has ids that are no numbers") from None
        if not numbers.size:
            return
        if (np.diff(numbers) <= 0).any() or (counts.last_key is not None and numbers[0] <= counts.last_key):
            raise _NeedsComparisonError(
                f"{self._source.file.source_ref} has rows that repeat others or are out of order"
            )
        counts.first_key = int(numbers[0]) if counts.first_key is None else counts.first_key
        counts.last_key = int(numbers[-1])

    def _stored(self, rows: pa.Table) -> pa.Table:
        """Return the rows as bronze stores them, within its constraints: first revisions with the commit's stamps."""
        load, count = self._load, rows.num_rows
        stamps = {
            "revision": pa.scalar(0, pa.int64()),
            "is_retracted": pa.scalar(False),
            "load_id": pa.scalar(load.load_id),
            "known_at": pa.scalar(load.known_at, _INSTANT),
        }
        columns = {name: pa.repeat(value, count) for name, value in stamps.items()}
        schema = arrow_schema(load.dataset)
        stored = pa.table(
            [columns[name] if name in columns else rows.column(name) for name in schema.names], names=schema.names
        ).cast(schema)
        check_constraints(self._engine, stored, bronze_spec(load.dataset))
        return stored


def _failed(rules: RuleSet, group: Sequence[RowRule]) -> str:
    return " or ".join(f"({rules.failed_sql(rule, Dialect.DUCKDB)})" for rule in group) or "false"


def _by_reason(
    engine: duckdb.DuckDBPyConnection, rules: RuleSet, group: Sequence[RowRule], among: str
) -> dict[str, int]:
    """Return how many of the rows under a condition fail the rules of each reason."""
    reasons = list(dict.fromkeys(rule.reason for rule in group))
    failed = [_failed(rules, [rule for rule in group if rule.reason == reason]) for reason in reasons]
    return dict(zip(reasons, _counted(engine, [f"({among}) and ({one})" for one in failed]), strict=True))


def _counted(engine: duckdb.DuckDBPyConnection, conditions: Sequence[str]) -> list[int]:
    if not conditions:
        return []
    columns = ", ".join(f"count(*) filter (where {condition})" for condition in conditions)
    (row,) = engine.execute(f"select {columns} from judged_rows").fetchall()
    return list(row)


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        if count:
            counts[name] = counts.get(name, 0) + count
