"""Binance's landed files → rows of text: archive zips and REST segments, candles and funding rates.

Values keep the exchange's exact text. Instants alone are typed, because only the reader knows the unit: milliseconds or
microseconds, told by magnitude (spot archives switched at 2025-01). Runs in Spark's executors: stdlib and pyarrow only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from marketlake.errors import DataError, one_of
from marketlake.exchanges.binance.archive_rows import archive_batches
from marketlake.exchanges.binance.raw_columns import RAW_SCHEMAS, raw_batch
from marketlake.exchanges.binance.rest_rows import rest_batches
from marketlake.landing.segments import segment_lines
from marketlake.work import Answer, LandedFile

__all__ = ["RAW_SCHEMAS", "read_batches", "read_rows"]


def read_batches(
    dataset: str, path: str | Path, *, file: LandedFile, answer: Answer, with_payload: bool = True
) -> Iterator[pa.RecordBatch]:
    """Yield the file's rows in `RAW_SCHEMAS[dataset]`, in the order of the source.

    Candles still open by the exchange's clock at the instant of the request are left out (ING-06). `with_payload=False`
    leaves `raw_payload` null, which is faster for archives.

    Raises:
        DataError: the file is damaged, or held: no unit puts all of its rows inside its period.
    """
    if file.format == "archive_zip":
        yield from archive_batches(dataset, path, file=file, with_payload=with_payload)
    elif file.format == "rest_jsonl":
        yield from rest_batches(dataset, path, file=file, answer=answer, with_payload=with_payload)
    elif file.format == "rest_unreadable":
        payloads = [line["body"] for line in segment_lines(Path(path))]
        yield raw_batch(
            dataset,
            {},
            len(payloads),
            received_at=file.received_at,
            source_ref=file.source_ref,
            first_position=0,
            payloads=payloads,
        )
    else:
        raise DataError(one_of(f"the format of {file.path}", file.format, ("archive_zip", "rest_jsonl")))


def read_rows(
    dataset: str, path: str | Path, *, file: LandedFile, answer: Answer, with_payload: bool = True
) -> pa.Table:
    """Return the same rows as one table."""
    batches = read_batches(dataset, path, file=file, answer=answer, with_payload=with_payload)
    return pa.Table.from_batches(batches, schema=RAW_SCHEMAS[dataset])
