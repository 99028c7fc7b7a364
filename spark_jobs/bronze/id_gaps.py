"""Jumps in the exchange's own numbers inside one load: rows that exist and were not delivered (QUA-21)."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import Window as Frame
from pyspark.sql import functions as F

from marketlake.datasets import Dataset
from marketlake.instants import Window
from marketlake.work import Answer
from spark_jobs.bronze import ranges
from spark_jobs.bronze.id_edges import gap_between, pieces_of


def id_gaps(rows: DataFrame, dataset: Dataset, answers: Sequence[Answer]) -> dict[int, list[Window]]:
    """Return, by answer number, the ranges between two rows whose ids do not follow each other.

    `rows` are all rows of the answers, whatever became of them. A jump between two answers counts where their windows
    touch, and is cut between them. Ids that are no numbers have no order and no jumps.
    """
    if dataset.id_column is None:
        return {}
    as_number = F.expr(f"try_cast({dataset.id_column} as bigint)")
    others = [name for name in dataset.key if name != dataset.id_column]
    in_order = Frame.partitionBy(*others).orderBy("number")
    time = F.unix_micros(dataset.time_column)
    numbered = rows.select(*others, as_number.alias("number"), time.alias("us"))
    jumps = (
        numbered.where("number is not null and us is not null")
        .withColumns({"before": F.lag("number").over(in_order), "us_before": F.lag("us").over(in_order)})
        .where("number > before + 1")
        .select("symbol", "us", "us_before")
        .collect()
    )
    found = dict[int, list[Window]]()
    for row in jumps:
        gap = gap_between(ranges.instant(row["us_before"]), ranges.instant(row["us"]))
        pieces = pieces_of(gap, answers, row["symbol"])
        if not gap.minus([piece for _, piece in pieces]):
            for number, piece in pieces:
                found.setdefault(number, []).append(piece)
    return found
