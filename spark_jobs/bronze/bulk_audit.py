"""Written files judged again, inside an executor: which of their rows the audit has to see.

Each finished file is read back, and every row of it is asked the rules once more. The audit of a large load then looks
at the rows that fail one, that lack their provenance, that have the key of another, or that end a source's part of a
file: its expectations are about these and the newest rows, so the rows that are left out change no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from marketlake.datasets import Dataset
from marketlake.lake.data_files import DataFile
from marketlake.rules import NEEDED_PROVENANCE, Dialect, RuleSet
from spark_jobs.bronze.landed_rows import KEPT, LandedSource
from spark_jobs.lib.quality import FLAGS, REASONS

# The rows at the end of each part that are audited whatever they are.
_LAST_ROWS = 16
# What the rules read beside the stored columns: written rows were readable.
_ABSENT = "null::varchar as unreadable"
Positions = npt.NDArray[np.int64]


def rows_to_audit(
    engine: duckdb.DuckDBPyConnection, folder: str, file: DataFile, *, dataset: Dataset, rules: RuleSet
) -> pa.Table:
    """Return the rows of a written file that the audit has to see: the table's columns, `source_position`, `answer_no`,
    and the reasons and flags that DuckDB finds in them now.

    A row's position is its place in the file. Rows of one part with one key have that of the first of them: to the
    audit they are one observation that is there twice.
    """
    path = f"{folder}/{file.path}"
    keys, times = _key_numbers(path, dataset)
    places, repeats = _places(keys, file)
    failing = _failing(engine, path, file, dataset, rules)
    chosen = np.unique(np.concatenate([failing, *_at_edges(times, file), repeats]))
    rows = _read(path, file, chosen, places)
    return _with_reasons(engine, rows, rules) if failing.size else _without_reasons(rows)


def conformed(rows: pa.Table, schema: pa.Schema, sources: Iterable[LandedSource]) -> pa.Table:
    """Return rows to audit as conformed rows of this schema; `sources` say until when a market was wanted."""
    by_answer = {source.answer_no: source for source in sources}
    ends = [by_answer[number].window_end for number in rows.column("answer_no").to_pylist()]
    count = rows.num_rows
    given = {
        "manifest_no": pa.repeat(pa.scalar(0, pa.int32()), count),
        "file_no": pa.repeat(pa.scalar(0, pa.int32()), count),
        "window_end": pa.array(ends, schema.field("window_end").type),
        "fate": pa.repeat(KEPT, count),
        "place": pa.repeat(pa.scalar(1, pa.int32()), count),
        "raw_payload": pa.nulls(count, pa.string()),
    }
    columns = [given[name] if name in given else rows.column(name) for name in schema.names]
    return pa.table(columns, names=schema.names).cast(schema)


def _with_reasons(engine: duckdb.DuckDBPyConnection, rows: pa.Table, rules: RuleSet) -> pa.Table:
    engine.register("audited_rows", rows)
    groups = ((REASONS, rules.rejecting), (FLAGS, rules.flagging))
    reasons = ", ".join(f"{rules.reasons_sql(group, Dialect.DUCKDB)} as {name}" for name, group in groups)
    return engine.sql(f"select *, {reasons} from (select *, {_ABSENT} from audited_rows)").to_arrow_table()


def _without_reasons(rows: pa.Table) -> pa.Table:
    """Return what the question for reasons returns of rows that fail no rule; it takes as long as asking many rows."""
    none = pa.repeat(pa.scalar([], pa.list_(pa.string())), rows.num_rows)
    for name, values in (("unreadable", pa.nulls(rows.num_rows, pa.string())), (REASONS, none), (FLAGS, none)):
        rows = rows.append_column(name, values)
    return rows


def _failing(
    engine: duckdb.DuckDBPyConnection, path: str, file: DataFile, dataset: Dataset, rules: RuleSet
) -> Positions:
    """Return the places of the rows that fail a rule, whether it rejects or flags, or lack their provenance."""
    failed = [f"({rules.failed_sql(rule, Dialect.DUCKDB)})" for rule in rules]
    failed += [f"{name} is null" for name in NEEDED_PROVENANCE if name in dataset.column_names]
    partition = "".join(f", {_quoted(value)} as {name}" for name, value in file.partition.items())
    written = f"read_parquet({_quoted(path)}, file_row_number = true, hive_partitioning = false)"
    rows = f"select *, {_ABSENT}{partition} from {written}"
    found = engine.sql(f"select file_row_number from ({rows}) where {' or '.join(failed)}").fetchnumpy()
    return np.asarray(found["file_row_number"], dtype=np.int64)


def _key_numbers(path: str, dataset: Dataset) -> tuple[Positions, Positions]:
    """Return the rows' keys within their market, as numbers, and their key times."""
    names = list(dict.fromkeys([dataset.id_column or dataset.time_column, dataset.time_column]))
    written = pq.read_table(path, columns=names, partitioning=None)
    keys, times = (written.column(name).combine_chunks().cast(pa.int64()).to_numpy() for name in (names[0], names[-1]))
    return keys, times


def _places(keys: Positions, file: DataFile) -> tuple[Positions, Positions]:
    """Return each row's place, that of the first row of its part with its key, and which rows share theirs."""
    places, repeats = np.arange(keys.size), list[Positions]()
    for start, end in _spans(file):
        part = keys[start:end]
        if (np.diff(part) > 0).all():
            continue
        _, firsts, numbers, counts = np.unique(part, return_index=True, return_inverse=True, return_counts=True)
        places[start:end] = start + firsts[numbers]
        repeats.append(start + np.flatnonzero(counts[numbers] > 1))
    return places, np.concatenate([np.empty(0, dtype=np.int64), *repeats])


def _at_edges(times: Positions, file: DataFile) -> Iterator[Positions]:
    """Yield the places of each part's last rows and of its newest one."""
    for start, end in _spans(file):
        yield np.arange(max(start, end - _LAST_ROWS), end)
        yield np.array([start + times[start:end].argmax()])


def _spans(file: DataFile) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a file start and end."""
    start = 0
    for _, count in file.parts:
        yield start, start + count
        start += count


def _read(path: str, file: DataFile, chosen: Positions, places: Positions) -> pa.Table:
    """Return the chosen rows with their places and answers; only row groups that hold one are read."""
    written = pq.ParquetFile(path)
    sizes = [written.metadata.row_group(number).num_rows for number in range(written.num_row_groups)]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    groups = np.unique(np.searchsorted(starts, chosen, side="right") - 1)
    parts = [
        written.read_row_group(int(group)).take(
            chosen[(chosen >= starts[group]) & (chosen < starts[group + 1])] - starts[group]
        )
        for group in groups
    ]
    rows = pa.concat_tables(parts)
    ends = np.cumsum([count for _, count in file.parts])
    numbers = np.array([number for number, _ in file.parts])[np.searchsorted(ends, chosen, side="right")]
    added = {
        **{name: pa.repeat(value, len(chosen)) for name, value in file.partition.items()},
        "source_position": pa.array(places[chosen]),
        "answer_no": pa.array(numbers, pa.int32()),
    }
    for name, values in added.items():
        rows = rows.append_column(name, values)
    return rows


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
