"""The dead-letter queue: rejected rows as a table (QUA-11) and as JSON files (QUA-12), each row once.

A row that a source sends again and again is in the queue once, however often a run was killed and repeated. A repeated
load writes the same files again: their names come from the manifest's instant and the load's id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as F

from marketlake.datasets import Column, ColumnType, Dataset
from marketlake.datasets.columns import instant, integer, text
from marketlake.instants import format_instant
from marketlake.lake.files import table_path
from marketlake.work import hash_id
from spark_jobs.lib.delta_tables import TableSpec

RECORDS_A_FILE = 1_000
ERROR = "schema_validation_failed"
UNPARSED = "parse_failed"


@dataclass(frozen=True)
class DeadLetterFile:
    """What the files of one load have in common."""

    folder: Path
    load_id: str
    at: datetime
    provider: str


def dlq_spec(dataset: Dataset) -> TableSpec:
    """Return the table of a dataset's rejected rows: as received, and parsed as far as possible."""
    parsed = [
        replace(column, is_nullable=True)
        for column in dataset.columns
        if column.name not in {"revision", "is_retracted", "known_at", "digest", "load_id"}
        and not column.name.startswith("partition_")
    ]
    return TableSpec(
        name=dataset.dlq_table,
        columns=(
            text("reject_id", "Hash of dataset, source_ref and raw payload; a row is here once."),
            text("dataset", "The dataset that the row was meant for."),
            text("raw_payload", "The row as received, JSON.", is_nullable=True),
            Column("dlq_reasons", ColumnType.TEXT_LIST, "Why it was rejected, one reason for each rule."),
            text("rule_version", "The version of the rules that rejected it."),
            text("error", "What kind of failure it is."),
            *parsed,
            text("unreadable", "Optional columns whose text could not be read.", is_nullable=True),
            integer("source_position", "The row's place in its file.", is_nullable=True),
            text("load_id", "The load that rejected it."),
            instant("seen_at", "When that load was committed, UTC."),
            Column("partition_date", ColumnType.DATE, "UTC date of the load."),
        ),
        partitioned_by=("partition_date",),
        sorted_by=("symbol", "source_ref", "source_position"),
        doc=f"Rejected rows of {dataset.name}; status and attempts are in ops.dlq_actions.",
    )


def dead_letters(
    rejected: DataFrame, dataset: Dataset, *, rule_version: str, load_id: str, seen_at: datetime
) -> DataFrame:
    """Return the rows of the DLQ table for rejected rows, one for each distinct raw row."""
    stamp = F.lit(seen_at).cast("timestamp")
    payload = F.coalesce("raw_payload", F.concat_ws(":", F.lit("position"), "source_position"))
    rows = rejected.withColumns(
        {
            "reject_id": F.left(
                F.sha2(F.concat_ws("\x1f", F.lit(dataset.name), "source_ref", payload), 256), F.lit(32)
            ),
            "dataset": F.lit(dataset.name),
            "rule_version": F.lit(rule_version),
            "error": F.when(F.array_contains("dlq_reasons", "missing key"), UNPARSED).otherwise(ERROR),
            "load_id": F.lit(load_id),
            "seen_at": stamp,
            "partition_date": F.to_date(stamp),
        }
    )
    first = Window.partitionBy("reject_id").orderBy("answer_no", "file_no", "source_position")
    return (
        rows.withColumn("_place", F.row_number().over(first))
        .where("_place = 1")
        .select(*dlq_spec(dataset).column_names)
    )


def not_seen_before(
    spark: SparkSession, letters: DataFrame, dataset: Dataset, *, root: str, exchange: str, load_id: str
) -> DataFrame:
    """Return the letters that no other load has put into the table."""
    seen = (
        spark.read.format("delta")
        .load(table_path(root, dataset.dlq_table))
        .where((F.col("exchange") == exchange) & (F.col("load_id") != load_id))
        .select("reject_id")
    )
    return letters.join(seen, on="reject_id", how="left_anti")


def write_files(letters: DataFrame, target: DeadLetterFile, *, has_timeframes: bool) -> list[Path]:
    """Write the letters as JSON files of at most 1,000 records of one market each; return their paths."""
    market = ["symbol", *(["timeframe"] if has_timeframes else []), "error"]
    order = [*market, "source_ref", "source_position", "reject_id"]
    rows = letters.select(*order, "raw_payload", "dlq_reasons").orderBy(*order).toLocalIterator()
    written = []
    for _, group in groupby(rows, key=lambda row: tuple(row[name] for name in market)):
        for number, chunk in enumerate(_chunks(group)):
            written.append(_write(target, chunk, number, chunk[0]["timeframe"] if has_timeframes else ""))
    return written


def _write(target: DeadLetterFile, rows: list[Row], number: int, timeframe: str) -> Path:
    symbol, error = rows[0]["symbol"], rows[0]["error"]
    identity = hash_id(target.load_id, symbol, timeframe, error, str(number))
    name = f"dlq_{target.at:%Y-%m-%dT%H-%M-%S}_{identity[:8]}.json"
    document = {
        "timestamp": format_instant(target.at),
        "error": error,
        "context": {"asset_pair": symbol, "timeframe": timeframe, "provider": target.provider},
        "records": [{**_record(row["raw_payload"]), "reason": "; ".join(row["dlq_reasons"])} for row in rows],
    }
    target.folder.mkdir(parents=True, exist_ok=True)
    path = target.folder / name
    aside = path.with_suffix(".partial")
    aside.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, path)
    return path


def _record(payload: str | None) -> dict[str, Any]:
    """Return the source's record: an object as it is, an array under `values`, anything else under `raw`."""
    try:
        parsed = json.loads(payload or "null", parse_float=str)
    except ValueError:
        return {"raw": payload}
    if isinstance(parsed, dict):
        return parsed
    return {"values": parsed} if isinstance(parsed, list) else {"raw": payload}


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, RECORDS_A_FILE)):
        yield chunk
