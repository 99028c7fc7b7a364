"""Archive zips → batches of raw rows: with a header or without, twelve columns or fewer, ms or µs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from marketlake.errors import DataError
from marketlake.exchanges.binance import archive_layout
from marketlake.exchanges.binance.raw_columns import (
    AGG_TRADE_ARCHIVE_COLUMNS,
    FUNDING_ARCHIVE_COLUMNS,
    INSTANT,
    KLINE_COLUMNS,
    TIME_COLUMNS,
    agg_trades_of,
    cut_to_milliseconds,
    instants_of,
    raw_batch,
)
from marketlake.exchanges.zip_member import ZipMember
from marketlake.instants import Window, format_instant
from marketlake.work import LandedFile

# A month of one-minute candles is one block.
_BLOCK_BYTES = 8 << 20
# The first line is looked at before it is read as CSV.
_PEEK_BYTES = 1 << 16
_COLUMNS = {"ohlcv": KLINE_COLUMNS, "funding_rates": FUNDING_ARCHIVE_COLUMNS, "trades": AGG_TRADE_ARCHIVE_COLUMNS}
_HEADERS = {
    "ohlcv": ("open_time", "open", "high", "low", "close", "volume"),
    "funding_rates": ("calc_time", "funding_interval_hours", "last_funding_rate"),
    "trades": ("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time"),
}
# Funding is stamped up to some milliseconds after (rarely before) the instant it belongs to.
_TOLERANCE = {"ohlcv": timedelta(0), "funding_rates": timedelta(minutes=1), "trades": timedelta(0)}


def archive_batches(
    dataset: str, path: str | Path, *, file: LandedFile, with_payload: bool = True
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a zip, a batch for each block of its CSV.

    A line with a wrong number of fields becomes a row without values, so that it is rejected by name and not lost.

    Raises:
        DataError: the zip is damaged, its columns are unknown, or a row lies outside the file's period.
    """
    with ZipMember(path) as member:
        stream = io.BufferedReader(member, _PEEK_BYTES)
        first_line = stream.peek(1)[:4096].split(b"\n", 1)[0].decode("utf-8", "replace")
        fields = [field.strip() for field in next(csv.reader([first_line]), [])]
        has_header = bool(fields) and not fields[0].lstrip("-").isdigit()
        names = _names(dataset, fields, has_header=has_header, file=file)
        if has_header:
            stream.readline()
        if not stream.peek(1):
            return
        bad_lines: list[str] = []
        reader = _open_csv(stream, names, bad_lines=bad_lines, file=file, with_payload=with_payload)
        position = 0
        while (block := _next_block(reader, file)) is not None:
            yield _batch(dataset, block, member, file=file, position=position, with_payload=with_payload)
            position += block.num_rows
        if bad_lines:
            yield _bad_batch(dataset, bad_lines, file=file, position=position)


def _names(dataset: str, fields: list[str], *, has_header: bool, file: LandedFile) -> list[str]:
    known = _COLUMNS[dataset]
    if len(fields) > len(known):
        raise DataError(f"{file.source_ref} has {len(fields)} columns; {dataset} archives have at most {len(known)}")
    expected = _HEADERS[dataset][: len(fields)]
    if has_header and tuple(fields[: len(expected)]) != expected:
        raise DataError(f"{file.source_ref} begins with columns {', '.join(fields)}; expected {', '.join(expected)}")
    return [known[place] or f"unused_{place}" for place in range(len(fields))]


def _open_csv(
    stream: Any, names: list[str], *, bad_lines: list[str], file: LandedFile, with_payload: bool
) -> pacsv.CSVStreamingReader:
    def keep(row: pacsv.InvalidRow) -> str:
        bad_lines.append(row.text)
        return "skip"

    try:
        return pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(column_names=names, block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pacsv.ParseOptions(invalid_row_handler=keep),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
                include_columns=names if with_payload else [name for name in names if not _is_unused(name)],
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{file.source_ref} is not readable as CSV: {error}") from None


def _next_block(reader: pacsv.CSVStreamingReader, file: LandedFile) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except pa.ArrowInvalid as error:
        raise DataError(f"{file.source_ref} is not readable as CSV: {error}") from None


def _batch(
    dataset: str, block: pa.RecordBatch, member: ZipMember, *, file: LandedFile, position: int, with_payload: bool
) -> pa.RecordBatch:
    columns = {name: block.column(name) for name in block.schema.names if not _is_unused(name)}
    time_column = TIME_COLUMNS[dataset]
    texts = columns[time_column]
    columns[time_column] = instants_of(texts)
    _check_period(dataset, texts, columns[time_column], file=file, position=position)
    if "reported_close_time" in columns:
        columns["reported_close_time"] = cut_to_milliseconds(instants_of(columns["reported_close_time"]))
    if dataset == "trades":
        columns = agg_trades_of(columns)
    return raw_batch(
        dataset,
        columns,
        block.num_rows,
        received_at=file.received_at,
        source_ref=file.source_ref,
        first_position=position,
        payloads=_payloads(block, has_quotes=member.has_quotes) if with_payload else None,
    )


def _check_period(dataset: str, texts: pa.Array, instants: pa.Array, *, file: LandedFile, position: int) -> None:
    period = archive_layout.window(file.source_ref)
    tolerance = _TOLERANCE[dataset]
    first, end = pa.scalar(period.start - tolerance, INSTANT), pa.scalar(period.end + tolerance, INSTANT)
    is_inside = pc.fill_null(pc.and_(pc.greater_equal(instants, first), pc.less(instants, end)), False)
    if pc.all(is_inside, min_count=0).as_py():
        return
    # A number that is neither unit is outside; a text that is no number is the row's own fault and is judged with it.
    is_number = pc.fill_null(pc.match_substring_regex(texts, r"^-?[0-9]+$"), False)
    is_outside = pc.and_(pc.invert(is_inside), is_number)
    if pc.any(is_outside, min_count=0).as_py():
        place = pc.index(is_outside, True).as_py()
        raise _held(file, period, position + place, texts[place].as_py(), instants[place].as_py())


def _held(file: LandedFile, period: Window, position: int, text: str, instant: object) -> DataError:
    read_as = "no instant" if instant is None else instant
    return DataError(
        f"{file.source_ref} is held: row {position} has time {text}, read as {read_as}, outside the file's period "
        f"{format_instant(period.start)} … {format_instant(period.end)}; nothing of it is loaded"
    )


def _payloads(block: pa.RecordBatch, *, has_quotes: bool) -> pa.Array | list[str]:
    if has_quotes:
        return [json.dumps([value or "" for value in row.values()]) for row in block.to_pylist()]
    texts = [pc.fill_null(column, "") for column in block.columns]
    return pc.binary_join_element_wise('["', pc.binary_join_element_wise(*texts, '","'), '"]', "")


def _is_unused(name: str) -> bool:
    return name.startswith("unused_")


def _bad_batch(dataset: str, bad_lines: list[str], *, file: LandedFile, position: int) -> pa.RecordBatch:
    return raw_batch(
        dataset,
        {},
        len(bad_lines),
        received_at=file.received_at,
        source_ref=file.source_ref,
        first_position=position,
        payloads=[json.dumps(text.split(",")) for text in bad_lines],
    )
