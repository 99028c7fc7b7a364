"""Arrow rows in Postgres' binary COPY format, built by NumPy: what the server reads with the least work.

A row is fixed places in memory where all its fields have the length of the row before. So the rows of a batch are
grouped by the lengths of their fields, and each group, mostly there is one, is a single array. COPY takes rows in any
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
# Postgres counts from 2000.
_EPOCH_US = 946_684_800_000_000
_EPOCH_DAYS = 10_957
# So many fit the processor's cache while they are filled, column by column.
_RECORDS = 8_192
# A numeric is digits to the base of 10,000: of decimal(28,12) four before the point and three after it.
_BASE, _GROUPS, _WEIGHT = 10_000, 7, 3
_DECIMAL = pa.decimal128(28, 12)
_NEGATIVE = 0x4000
_NUMERIC = np.dtype(
    [("groups", ">i2"), ("weight", ">i2"), ("sign", ">u2"), ("scale", ">i2"), ("digits", ">i2", (_GROUPS,))]
)
_Array = np.ndarray[Any, np.dtype[Any]]


def binary_rows(batch: pa.RecordBatch) -> Iterator[bytes | memoryview]:
    """Yield the batch's rows, all columns in order, as COPY's binary format has them, without header and trailer.

    Columns may be texts, booleans, bigints, doubles, dates, UTC instants in microseconds and decimal(28,12).

    Raises:
        TypeError: a column is of another type.
    """
    for part in _of_equal_lengths(batch):
        for start in range(0, part.num_rows, _RECORDS):
            yield _records(part.slice(start, _RECORDS)).view(np.uint8).data


def _of_equal_lengths(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    lengths = []
    for column in batch.columns:
        if pa.types.is_string(column.type):
            lengths.append(pc.fill_null(pc.binary_length(column), -1))
        elif column.null_count:
            lengths.append(column.is_null())
    differing = [length for length in lengths if pc.count_distinct(length).as_py() > 1]
    if not differing:
        yield batch
        return
    names = [str(place) for place in range(len(differing))]
    rows = pl.DataFrame(pa.table(differing, names)).with_row_index("row")
    for group in rows.partition_by(names, include_key=False):
        yield batch.take(group.get_column("row").to_arrow())


def _records(batch: pa.RecordBatch) -> _Array:
    """Return the rows as an array whose memory is what COPY reads."""
    fields: list[tuple[str, Any]] = [("fields", ">i2")]
    values: dict[str, _Array] = {}
    for place, column in enumerate(batch.columns):
        fields.append((f"length_{place}", ">i4"))
        if len(column) and not column.null_count:
            values[f"value_{place}"] = found = _values(column)
            fields.append((f"value_{place}", _stored_type(found)))
    records = np.empty(batch.num_rows, np.dtype(fields))
    records["fields"] = batch.num_columns
    for place in range(batch.num_columns):
        value = values.get(f"value_{place}")
        records[f"length_{place}"] = -1 if value is None else records.dtype[f"value_{place}"].itemsize
        if value is not None:
            records[f"value_{place}"] = value
    return records


def _stored_type(values: _Array) -> Any:
    if values.ndim == 2:
        return (np.uint8, (values.shape[1],))
    return values.dtype if values.dtype.kind in "Vb" else values.dtype.newbyteorder(">")


def _values(column: pa.Array) -> Any:
    kind = column.type
    if pa.types.is_string(kind):
        return _texts(column)
    if kind == _DECIMAL:
        return _numerics(column)
    if pa.types.is_boolean(kind):
        return column.to_numpy(zero_copy_only=False)
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        return column.cast(pa.int64()).to_numpy() - _EPOCH_US
    if pa.types.is_date32(kind):
        return column.cast(pa.int32()).to_numpy() - np.int32(_EPOCH_DAYS)
    if kind in (pa.int64(), pa.float64()):
        return column.to_numpy()
    raise TypeError(f"a column of type {kind} has no binary form here")


def _texts(column: pa.Array) -> _Array:
    """Return texts of one length as a matrix of their bytes."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    if data is None:
        return np.empty((len(column), 0), np.uint8)
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]].reshape(len(column), -1)


def _numerics(column: pa.Array) -> _Array:
    words = np.frombuffer(column.buffers()[1], "<i8").reshape(-1, 2)[column.offset : column.offset + len(column)]
    records = np.empty(len(column), _NUMERIC)
    records["groups"], records["weight"], records["scale"] = _GROUPS, _WEIGHT, column.type.scale
    is_negative = words[:, 1] < 0
    records["sign"] = np.where(is_negative, _NEGATIVE, 0)
    if is_negative.any():
        words = np.where(is_negative[:, None], _negated(words), words)
    if words[:, 1].any():
        upper, lower = _halves(words)
    else:
        plain = words[:, 0].copy().view(np.uint64)
        upper = plain // np.uint64(_BASE**4)
        lower = plain - upper * np.uint64(_BASE**4)
    _split(lower, records["digits"], range(_GROUPS - 1, _WEIGHT - 1, -1))
    _split(upper, records["digits"], range(_WEIGHT - 1, -1, -1))
    return records


def _negated(words: _Array) -> _Array:
    low = ~words[:, 0] + 1
    return np.stack([low, ~words[:, 1] + (low == 0)], axis=1)


def _halves(words: _Array) -> tuple[_Array, _Array]:
    """Return the value over 10^16 and what is left, of values that do not fit one word."""
    # Two words, each of 32-bit halves: a long division that stays within 64 bits.
    plain = words.view(np.uint64)
    high, low = plain[:, 1], plain[:, 0]
    divisor, half, mask = np.uint64(10**8), np.uint64(32), np.uint64(0xFFFFFFFF)

    def divided(parts: list[_Array]) -> tuple[list[_Array], _Array]:
        rest, quotients = np.zeros_like(low), []
        for part in parts:
            rest = (rest << half) | part
            quotients.append(rest // divisor)
            rest = rest % divisor
        return quotients, rest

    first, lowest = divided([high >> half, high & mask, low >> half, low & mask])
    second, middle = divided(first)
    return (second[2] << half) | second[3], middle * divisor + lowest


def _split(values: _Array, digits: _Array, places: range) -> None:
    """Write a number's digits to the base of 10,000, lowest first, into these places."""
    for place in places[:-1]:
        values, whole = values // np.uint64(_BASE), values
        digits[:, place] = whole - values * np.uint64(_BASE)
    digits[:, places[-1]] = values
