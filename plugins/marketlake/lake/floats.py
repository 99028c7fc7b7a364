"""Exact decimals to the nearest doubles.

Arrow's own cast multiplies by a rounded power of ten and is off by one bit for some values. A quotient of two integers
that a double holds exactly is rounded once, so it is the double nearest to the text that the exchange sent.

A decimal128 is two machine words. Zeros at its end are dropped by whole-number arithmetic on both, until what is left
has a double of its own. Rows go through in blocks that stay in the processor's cache.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_Ints = np.ndarray[Any, np.dtype[np.int64]]
_Floats = np.ndarray[Any, np.dtype[np.float64]]
# Whole numbers up to here have a double of their own.
_EXACT = 1 << 53
# Powers of ten up to here have one too.
_LARGEST_POWER = 22
_BLOCK_ROWS = 1 << 14
# Of fewer rows a column takes less time than a thread's start.
_FEW_ROWS = 50_000
# Zeros at the end to try: exchanges send at most eight of decimal(28,12)'s digits after the point, and large amounts
# with two or fewer.
_SPARE_DIGITS = (4, 10)


def to_float64(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return float64s nearest to the decimal128 values; null stays null."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    # Arrow keeps memory that it gave before; NumPy asks the system anew, which costs as much as the division.
    memory = pa.allocate_buffer(8 * len(values))
    floats = np.frombuffer(memory)
    at = 0
    for chunk in chunks:
        _convert(chunk, floats[at : at + len(chunk)])
        at += len(chunk)
    if values.null_count == 0:
        return pa.Array.from_buffers(pa.float64(), len(values), [None, memory])
    is_null = np.concatenate([chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks])
    return pa.array(floats, mask=is_null)


def floats_of(table: pa.Table) -> pa.Table:
    """Return the table with each decimal column as float64."""
    places = [place for place, field in enumerate(table.schema) if pa.types.is_decimal(field.type)]
    columns = [table.column(place) for place in places]
    if table.num_rows < _FEW_ROWS:
        converted = [to_float64(column) for column in columns]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy lets go of Python's lock
            converted = list(pool.map(to_float64, columns))
    for place, floats in zip(places, converted, strict=True):
        field = table.schema.field(place)
        table = table.set_column(place, pa.field(field.name, pa.float64(), field.nullable), floats)
    return table


def _convert(values: pa.Array, floats: _Floats) -> None:
    if not len(values):
        return
    words = np.frombuffer(values.buffers()[1], dtype="<i8").reshape(-1, 2)
    words = words[values.offset : values.offset + len(values)]
    for start in range(0, len(words), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        low, high = words[part, 0], words[part, 1]
        if _divide_whole(low, high, values.type.scale, floats[part]):
            continue
        low = low.copy()
        if not _divide_alike(low, high, values.type.scale, floats[part]):
            is_exact = _divide_each(low, high, values.type.scale, floats[part])
            _read_texts(values.slice(start, len(low)), is_exact, floats[part])


def _divide_whole(low: _Ints, high: _Ints, scale: int, floats: _Floats) -> bool:
    """Divide a block whose values all fit one word and have a double of their own as they are, which prices have.

    A power of ten is a power of two times one of five: numbers that end in four zeros end in four bits of zero as well,
    so a double's 53 bits hold them up to 2^57.
    """
    bits = int(np.bitwise_or.reduce(low))
    if scale > _LARGEST_POWER or bits < 0 or np.bitwise_or.reduce(high):
        return False
    if bits > _EXACT and bits // (bits & -bits) >= _EXACT:
        return False
    np.divide(low, 10.0**scale, out=floats)
    return True


def _divide_alike(low: _Ints, high: _Ints, scale: int, floats: _Floats) -> bool:
    """Divide a block whose values all fit one word and end in the same zeros, as traded values do."""
    digits = _SPARE_DIGITS[0]
    if not digits <= scale <= _LARGEST_POWER + digits or high.any():
        return False
    plain = low.view(np.uint64)
    shorter = plain // np.uint64(10**digits)
    if not (shorter * np.uint64(10**digits) == plain).all() or shorter.max() > _EXACT:
        return False
    np.divide(shorter.view(np.int64), 10.0 ** (scale - digits), out=floats)
    return True


def _divide_each(low: _Ints, high: _Ints, scale: int, floats: _Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Divide the values that some number of dropped zeros makes exact; return which those are."""
    is_exact = np.zeros(len(low), np.bool_)
    for digits in (0, *_SPARE_DIGITS):
        if digits <= scale <= _LARGEST_POWER + digits and not is_exact.all():
            shorter, is_shorter = _without_zeros(low, high, digits)
            np.divide(shorter, 10.0 ** (scale - digits), out=floats, where=is_shorter & ~is_exact)
            is_exact |= is_shorter
    return is_exact


def _without_zeros(low: _Ints, high: _Ints, digits: int) -> tuple[_Ints, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return the values over a power of ten, and whether that is a whole number with a double of its own."""
    if digits == 0:
        return low, (high == low >> 63) & (np.abs(low) <= _EXACT)
    divisor = 10**digits
    whole, left = divmod(1 << 64, divisor)
    plain = low.view(np.uint64)
    quotient = plain // np.uint64(divisor)
    rest = high * left + (plain - quotient * np.uint64(divisor)).view(np.int64)
    carried = rest // divisor
    # Beyond these the sum does not fit a word; it would have no double of its own either.
    is_near = np.abs(high) <= _EXACT // whole
    shorter = np.where(is_near, high, 0) * whole + quotient.view(np.int64) + carried
    return shorter, is_near & (carried * divisor == rest) & (np.abs(shorter) <= _EXACT)


def _read_texts(values: pa.Array, is_exact: np.ndarray[Any, np.dtype[np.bool_]], floats: _Floats) -> None:
    """Arrow reads text with correct rounding; slower, and only values of more than 15 digits come here."""
    is_null = values.is_null().to_numpy(zero_copy_only=False)
    rest = np.flatnonzero(~is_exact & ~is_null)
    if rest.size:
        floats[rest] = pc.cast(values.take(pa.array(rest)).cast(pa.string()), pa.float64()).to_numpy()
