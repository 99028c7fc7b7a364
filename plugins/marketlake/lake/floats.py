"""Exact decimals to the nearest doubles.

Arrow's own cast multiplies by a rounded power of ten and is off by one bit for some values. A quotient of two integers
that a double holds exactly is rounded once, so it is the double nearest to the text that the exchange sent.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Whole numbers up to here have a double of their own.
_EXACT = 1 << 53
# Exchanges send at most eight digits after the point, so these four zeros of decimal(28,12) can be dropped.
_SPARE_DIGITS = 4


def to_float64(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return float64s nearest to the decimal128 values; null stays null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    low, high = _words(values)
    fits = high == (low >> 63)
    scale = values.type.scale
    floats = low / 10.0**scale
    is_exact = fits & (np.abs(low) < _EXACT)
    if scale >= _SPARE_DIGITS:
        shorter = low // 10**_SPARE_DIGITS
        is_shorter = fits & ~is_exact & (shorter * 10**_SPARE_DIGITS == low)
        np.copyto(floats, shorter / 10.0 ** (scale - _SPARE_DIGITS), where=is_shorter)
        is_exact |= is_shorter
    is_null = values.is_null().to_numpy(zero_copy_only=False)
    rest = np.flatnonzero(~is_exact & ~is_null)
    if rest.size:
        # Arrow reads text with correct rounding; slower, and only the largest values come here.
        floats[rest] = pc.cast(values.take(pa.array(rest)).cast(pa.string()), pa.float64()).to_numpy()
    return pa.array(floats, mask=is_null)


def floats_of(table: pa.Table) -> pa.Table:
    """Return the table with each decimal column as float64."""
    for position, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            floats = to_float64(table.column(position))
            table = table.set_column(position, pa.field(field.name, pa.float64(), field.nullable), floats)
    return table


def _words(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    words = np.frombuffer(values.buffers()[1], dtype="<i8").reshape(-1, 2)
    mine = words[values.offset : values.offset + len(values)]
    return mine[:, 0], mine[:, 1]
