"""The bulk path: executors type, judge and write answers of which bronze knows no key; nothing is compared.

Owns when it applies and what the driver makes of the executors' work: counts by market, the frames of the written rows
and of those among them that are audited. Refused markets' files are removed; the others are committed as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from marketlake.datasets import Dataset
from marketlake.errors import DataError
from marketlake.lake.data_files import DataFile, remove_files
from marketlake.work import Answer, Manifest
from spark_jobs.audit.verdicts import MarketCounts
from spark_jobs.bronze.bulk_files import (
    ACCEPTED,
    AUDITED,
    REJECTED,
    BulkLoad,
    SourceCounts,
    conformed_schema,
    import_writers,
    write_sources,
)
from spark_jobs.bronze.conform import conformed_columns, is_small, landed_sources
from spark_jobs.bronze.context import LoadContext, LoadTask
from spark_jobs.bronze.landed_rows import COLLAPSED, EXTRA_COLUMNS, KEPT, OPEN, OUTSIDE, LandedSource, typed_schema
from spark_jobs.bronze.ranges import instant
from spark_jobs.lib.arrow import FEW_ROWS
from spark_jobs.lib.delta_tables import bronze_spec, ensure_table
from spark_jobs.lib.quality import FLAGS, REASONS

_TASKS_PER_CORE = 4


class NotInBulkError(DataError):
    """A manifest needs the plain path; the text says why."""


@dataclass(frozen=True)
class Staged:
    """What the executors wrote of one manifest: files that no transaction names yet.

    `judged` are the rejected rows, as conformed rows with their reasons, and where ids may jump the accepted ones too,
    read back; `audited` are the rejected ones and those of the accepted that can change a result of the audit. An
    accepted row's `source_position` is its place in the file.
    """

    folder: str
    known_at: datetime
    files: dict[str, list[DataFile]]
    counts: tuple[MarketCounts, ...]
    judged: DataFrame
    audited: DataFrame
    answers: tuple[Answer, ...]

    def accepted_files(self, refused: Sequence[str]) -> list[DataFile]:
        """Return the files of the markets that are not refused.

        Raises:
            NotInBulkError: a file holds rows of both.
        """
        found = list[DataFile]()
        for file in self.files[ACCEPTED]:
            symbols = {self.answers[number].market.symbol for number, _ in file.parts}
            if not symbols & set(refused):
                found.append(file)
            elif symbols - set(refused):
                raise NotInBulkError("a refused market shares a file with others")
        return found

    def key_times(self, files: Sequence[DataFile], time_column: str) -> pa.Table:
        """Return `answer_no` and the key time `us` in µs since 1970 of the files' rows, as they are written."""
        numbers, times = list[pa.Array](), list[pa.Array]()
        for file in files:
            written = pq.read_table(f"{self.folder}/{file.path}", columns=[time_column], partitioning=None)
            times += [chunk.cast(pa.timestamp("us", "UTC")).cast(pa.int64()) for chunk in written.column(0).chunks]
            numbers += [pa.repeat(pa.scalar(number, pa.int32()), count) for number, count in file.parts]
        return pa.table({"answer_no": pa.chunked_array(numbers, pa.int32()), "us": pa.chunked_array(times, pa.int64())})

    def is_light(self, dataset: Dataset) -> bool:
        """Whether Spark has few rows to look at: those that are audited or rejected; for jumps of ids it needs all."""
        rows = sum(file.rows for name in (AUDITED, REJECTED) for file in self.files[name])
        return dataset.id_column is None and rows <= FEW_ROWS

    def remove(self, kept: Sequence[DataFile] = ()) -> None:
        """Remove the files but those that were committed."""
        paths = {file.path for file in kept}
        remove_files(self.folder, [file for held in self.files.values() for file in held if file.path not in paths])


def why_not_in_bulk(manifest: Manifest) -> str | None:
    """Return why a manifest needs the plain path whatever bronze holds, None where it does not."""
    with_files = [answer for answer in manifest.answers if answer.files]
    if is_small([manifest]):
        return "it is small"
    ordered = sorted(with_files, key=lambda answer: (answer.market.symbol, answer.timeframe, answer.window.start))
    for before, answer in pairwise(ordered):
        is_same = (before.market.symbol, before.timeframe) == (answer.market.symbol, answer.timeframe)
        if is_same and answer.window.start < before.window.end:
            return f"two of its answers are about {answer.market.symbol} from {answer.window.start:%Y-%m-%d}"
    return "an answer has several files" if any(len(answer.files) > 1 for answer in with_files) else None


def start_workers(spark: SparkSession) -> None:
    """Start a Python worker on each core and let it import what it writes with: that takes seconds of a bulk load."""
    cores = spark.sparkContext.defaultParallelism
    spark.range(0, cores, 1, cores).mapInArrow(import_writers, "id long").collect()


def stage(context: LoadContext, task: LoadTask, *, known_at: datetime) -> Staged:
    """Let the executors write the manifest's rows; hold the table's lease, which decides load_id and known_at.

    Where it raises, the files that its tasks have written are removed.

    Raises:
        NotInBulkError: rows may repeat others, are out of order, or do not say where they came from.
        DataError: a file is not what its reader reads, or rows break a constraint of the table.
    """
    folder = ensure_table(context.root, bronze_spec(context.dataset))
    load = BulkLoad(context.dataset, context.rules, folder, task.load_id, known_at)
    try:
        return _staged(context, task, load)
    except Exception:
        for path in Path(folder).rglob(f"*-{load.attempt}-*.parquet"):
            path.unlink(missing_ok=True)
        raise


def _staged(context: LoadContext, task: LoadTask, load: BulkLoad) -> Staged:
    sources = sorted(landed_sources([task.manifest], context.area), key=_table_order)
    groups = _groups(sources, _TASKS_PER_CORE * context.spark.sparkContext.defaultParallelism)
    numbers = context.spark.range(0, len(groups), 1, max(1, len(groups)))
    told = [json.loads(row["told"]) for row in numbers.mapInArrow(_write_groups(load, groups), "told string").collect()]
    files = {name: list[DataFile]() for name in (ACCEPTED, REJECTED, AUDITED)}
    for item in told:
        if "file" in item:
            files[item["holds"]].append(DataFile(**item["file"]))
    counts = [SourceCounts(**item["counts"]) for item in told if "counts" in item]
    _check(task.manifest, files, counts)
    return Staged(
        load.folder,
        load.known_at,
        files,
        _market_counts(task.manifest, counts),
        _read_back(context, load.folder, files),
        _conformed(context, load.folder, [*files[AUDITED], *files[REJECTED]]),
        task.manifest.answers,
    )


def _check(manifest: Manifest, files: Mapping[str, Sequence[DataFile]], counts: Sequence[SourceCounts]) -> None:
    reasons = [one.why_not for one in counts if one.why_not]
    if reasons:
        raise NotInBulkError(reasons[0])
    _check_keys_are_apart(manifest, counts)
    judged = sum(one.fates.get(KEPT, 0) for one in counts)
    rejected = sum(one.rejected for one in counts)
    written = sum(file.rows for file in files[ACCEPTED]), sum(file.rows for file in files[REJECTED])
    if written != (judged - rejected, rejected):
        raise DataError(
            f"executors judged {judged - rejected} and {rejected} rows, but wrote {written[0]} and {written[1]}"
        )


def _check_keys_are_apart(manifest: Manifest, counts: Sequence[SourceCounts]) -> None:
    """Raise where the keys of two answers about a market may be equal: ids, and instants that are no window's."""
    spans = sorted(
        (answer.market.symbol, answer.timeframe, one.first_key, one.last_key)
        for one in counts
        if one.first_key is not None and one.last_key is not None
        for answer in [manifest.answers[one.answer_no]]
    )
    for (symbol, _), of_market in groupby(spans, key=lambda span: span[:2]):
        if any(after[2] <= before[3] for before, after in pairwise(of_market)):
            raise NotInBulkError(f"two of its answers may have the same rows of {symbol}")


def _table_order(source: LandedSource) -> tuple[str, str, str, datetime]:
    answer = source.answer
    return answer.timeframe, f"{answer.window.start:%Y-%m}", answer.market.symbol, answer.window.start


def _groups(sources: Sequence[LandedSource], count: int) -> list[list[LandedSource]]:
    """Cut the sources, in their order, into at most `count` groups of about as many bytes."""
    share = sum(source.file.bytes for source in sources) / max(1, count)
    groups, filled = list[list[LandedSource]](), 0.0
    for source in sources:
        if not groups or filled >= share * len(groups):
            groups.append([])
        groups[-1].append(source)
        filled += source.file.bytes
    return groups


def _write_groups(
    load: BulkLoad, groups: Sequence[Sequence[LandedSource]]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write(numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                told = [json.dumps(item) for item in write_sources(load, groups[number])]
                yield pa.RecordBatch.from_arrays([pa.array(told, pa.string())], names=["told"])

    return write


def _market_counts(manifest: Manifest, counts: Sequence[SourceCounts]) -> tuple[MarketCounts, ...]:
    by_symbol = dict[str, list[SourceCounts]]()
    for one in counts:
        if one.fates:  # a market without a row has no verdict
            by_symbol.setdefault(manifest.answers[one.answer_no].market.symbol, []).append(one)
    return tuple(_added(symbol, by_symbol[symbol]) for symbol in sorted(by_symbol))


def _added(symbol: str, counts: Sequence[SourceCounts]) -> MarketCounts:
    firsts = [one.first_received_us for one in counts if one.first_received_us is not None]
    received = sum(one.fates.get(KEPT, 0) for one in counts)
    return MarketCounts(
        manifest_no=0,
        symbol=symbol,
        received=received,
        rejected=sum(one.rejected for one in counts),
        flagged=sum(one.flagged for one in counts),
        collapsed=sum(one.fates.get(COLLAPSED, 0) for one in counts),
        outside=sum(one.fates.get(OUTSIDE, 0) for one in counts),
        still_open=sum(one.fates.get(OPEN, 0) for one in counts),
        has_repeats=False,
        first_received_at=instant(min(firsts)) if firsts else None,
        reasons=_summed(one.reasons for one in counts),
        flags=_summed(one.flags for one in counts),
    )


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total = dict[str, int]()
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _conformed(context: LoadContext, folder: str, files: Sequence[DataFile]) -> DataFrame:
    """Return the rows of files that hold conformed rows with their reasons; few of them from the driver's memory."""
    schema = typed_schema(context.dataset) + f", place int, {REASONS} array<string>, {FLAGS} array<string>"
    paths = [f"{folder}/{file.path}" for file in files]
    if sum(file.rows for file in files) <= FEW_ROWS:
        none = conformed_schema(context.dataset).empty_table()
        held = [pq.read_table(path, partitioning=None).cast(none.schema) for path in paths]
        rows = context.spark.createDataFrame(pa.concat_tables([none, *held]), schema)
    else:
        rows = context.spark.read.schema(schema).parquet(*paths)
    return rows.select(*conformed_columns(context.dataset), REASONS, FLAGS)


def _read_back(context: LoadContext, folder: str, files: Mapping[str, Sequence[DataFile]]) -> DataFrame:
    """Return the rows that a commit looks at as conformed rows with their reasons: accepted ones for their ids."""
    dataset, spark = context.dataset, context.spark
    rejected = _conformed(context, folder, files[REJECTED])
    if dataset.id_column is None or not files[ACCEPTED]:
        return rejected
    stored = ", ".join(f"{column.name} {column.spark_type}" for column in dataset.columns)
    paths = [f"{folder}/{file.path}" for file in files[ACCEPTED]]
    good = spark.read.schema(stored).option("basePath", folder).parquet(*paths)
    none = F.expr("cast(array() as array<string>)")
    written = {"_file": F.col("_metadata.file_name"), "source_position": F.col("_metadata.row_index")}
    given = {**written, "manifest_no": F.lit(0), "fate": F.lit(KEPT)}
    good = good.withColumns({**given, "place": F.lit(1), REASONS: none, FLAGS: none})
    numbers = spark.createDataFrame(
        list(_parts(files[ACCEPTED])), "of_file string, start int, after int, answer_no int"
    )
    is_of_part = F.expr("_file = of_file and source_position >= start and source_position < after")
    good = good.join(F.broadcast(numbers), on=is_of_part, how="left")
    absent = {name: F.lit(None).cast(kind) for name, kind in EXTRA_COLUMNS.items() if name not in good.columns}
    return good.withColumns(absent).select(*rejected.columns).unionByName(rejected)


def _parts(files: Sequence[DataFile]) -> Iterator[tuple[str, int, int, int]]:
    """Yield, of each part, its file's name, its first place in it, the one after its last, and its answer's number."""
    for file in files:
        start = 0
        for number, count in file.parts:
            yield Path(file.path).name, start, start + count, number
            start += count
