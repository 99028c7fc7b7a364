"""What a replaced archive no longer has: its rows are retracted (ING-14, LAKE-12).

Whether an archive was replaced is a matter of its bytes, not of why it was asked for: another digest than the one that
was loaded under the same path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake import ledger
from marketlake.datasets import Dataset
from marketlake.instants import Window
from marketlake.work import Answer
from spark_jobs.bronze import ranges
from spark_jobs.bronze.context import LoadContext, LoadTask
from spark_jobs.bronze.revisions import retractions, stored_columns

_COVERED = (
    "symbol string, timeframe string, source string, range_start timestamp, range_end timestamp, "
    "received_at timestamp, source_ref string"
)
_log = logging.getLogger("marketlake.load")
# Ranges by symbol, timeframe and source.
Retracted = Mapping[tuple[str, str, str], list[Window]]


@dataclass(frozen=True)
class Gone:
    """Rows that retract what replaced archives lack, `count` of them, and the ranges of all that is retracted.

    `release` gives back the memory of `kept`.
    """

    rows: DataFrame | None = None
    count: int = 0
    retracted: Retracted = field(default_factory=dict)
    kept: DataFrame | None = None

    def release(self) -> None:
        """Forget the rows."""
        if self.kept is not None:
            self.kept.unpersist()


def gone_from_reissued(
    context: LoadContext,
    task: LoadTask,
    answers: Sequence[Answer],
    *,
    accepted: DataFrame,
    rejected: DataFrame | None,
    existing: DataFrame | None,
) -> Gone:
    """Return what the table has of the ranges of replaced archives and the new bytes have not; None: no such rows."""
    dataset = context.dataset
    if existing is None:
        return Gone()
    present = accepted
    reissued = [answer for answer in answers if _is_reissued(context, task.manifest.exchange, answer)]
    if rejected is not None and reissued:
        present = accepted.unionByName(rejected)
        reissued = _without_unplaced_rows(task, reissued, rejected, dataset)
    covered = [
        (a.market.symbol, a.timeframe, a.source, a.window.start, a.window.end, file.received_at, file.source_ref)
        for a in reissued
        for file in a.files
    ]
    if not covered:
        return Gone()
    frame = context.spark.createDataFrame(covered, _COVERED)
    found = retractions(existing, present, frame, dataset).persist()
    return _told(found, dataset)


def _is_reissued(context: LoadContext, exchange: str, answer: Answer) -> bool:
    if answer.source != "archive" or answer.status != "answered":
        return False
    known = [(file.sha256, ledger.archive_file(context.connection, exchange, file.source_ref)) for file in answer.files]
    return any(held and held.loaded_sha256 not in (None, sha256) for sha256, held in known)


def _without_unplaced_rows(
    task: LoadTask, reissued: Sequence[Answer], rejected: DataFrame, dataset: Dataset
) -> list[Answer]:
    """Return the answers whose every row says which key it is; a garbled line may be any that is missing."""
    numbers = {task.manifest.answers.index(answer): answer for answer in reissued}
    time = F.col(dataset.time_column)
    inside = F.lit(False)
    for number, answer in numbers.items():
        is_in_window = (time >= F.lit(answer.window.start)) & (time < F.lit(answer.window.end))
        inside = inside | ((F.col("answer_no") == number) & is_in_window)
    is_placed = F.coalesce(inside, F.lit(False)) & ~F.array_contains("dlq_reasons", "off grid")
    unplaced = rejected.where(F.col("answer_no").isin(list(numbers)) & ~is_placed).select("answer_no").distinct()
    held = {int(row["answer_no"]) for row in unplaced.collect()}
    for number in sorted(held):
        _log.warning(
            "%s: %s was replaced and has rows whose key cannot be told; nothing of it is retracted",
            task.name,
            ", ".join(file.source_ref for file in numbers[number].files),
        )
    return [answer for number, answer in numbers.items() if number not in held]


def _told(found: DataFrame, dataset: Dataset) -> Gone:
    timeframe = F.col("timeframe") if dataset.has_timeframes else F.lit("")
    rows = found.select(
        "symbol", timeframe.alias("timeframe"), "source", F.unix_micros(dataset.time_column).alias("us"), "is_new"
    ).collect()
    retracted = dict[tuple[str, str, str], list[Window]]()
    for row in rows:
        start = ranges.instant(row["us"])
        window = Window(start, start + ranges.step_of(row["timeframe"]))
        retracted.setdefault((row["symbol"], row["timeframe"], row["source"]), []).append(window)
    count = sum(row["is_new"] for row in rows)
    new = found.where("is_new").select(*stored_columns(dataset)) if count else None
    return Gone(new, count, retracted, kept=found)
