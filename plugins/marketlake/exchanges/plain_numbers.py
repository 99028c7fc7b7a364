"""Numbers as exchanges mostly write them, read by the bytes of a whole column: digits, with a point for a decimal.

Each function says None where one text of the column is written otherwise; whoever asked then looks at them one by one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_ZERO, _POINT = ord("0"), ord(".")
# So many digits are always an int64.
_MOST_DIGITS = 18
# decimal(28,12).
_SCALE, _MOST_BEFORE_POINT = 12, 16
DECIMAL = pa.decimal128(28, _SCALE)
_FACTORS = 10 ** np.arange(_SCALE, -1, -1, dtype=np.int64)
_LIMB_BITS = 22
_LIMB = (1 << _LIMB_BITS) - 1
_Places = npt.NDArray[np.int32]
_Bytes = npt.NDArray[np.uint8]
_Longs = npt.NDArray[np.int64]


def whole_numbers(texts: pa.Array, *, least_digits: int = 1, most_digits: int = _MOST_DIGITS) -> pa.Array | None:
    """Return int64 of texts that each are so many digits and nothing else; at most 18."""
    found = _bytes_of(texts)
    if found is None:
        return None
    places, written = found
    lengths = np.diff(places)
    if lengths.min() < least_digits or lengths.max() > most_digits or not written.tobytes().isdigit():
        return None
    return texts.cast(pa.int64())


def decimals(texts: pa.Array) -> pa.Array | None:
    """Return decimal(28,12) of texts that each have one point, digits on both sides of it, and no needless zero first.

    They have at most 18 digits in all; more are the caller's.
    """
    found = _bytes_of(texts)
    if found is None:
        return None
    places, written = found
    points = np.flatnonzero(written == _POINT)
    if points.size != len(texts):
        return None
    before, after = points - places[:-1], places[1:] - 1 - points
    if min(before.min(), after.min()) < 1 or before.max() > _MOST_BEFORE_POINT or after.max() > _SCALE:
        return None
    if (before + after).max() > _MOST_DIGITS or ((written[places[:-1]] == _ZERO) & (before > 1)).any():
        return None
    digits = written.tobytes().translate(None, b".")
    if not digits.isdigit():
        return None
    ends = places - np.arange(places.size, dtype=np.int32)
    numbers = pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(digits)).cast(pa.int64())
    words = _products(numbers.to_numpy(), _FACTORS[after])
    return pa.Array.from_buffers(DECIMAL, len(texts), [None, pa.py_buffer(words)])


def _bytes_of(texts: pa.Array) -> tuple[_Places, _Bytes] | None:
    """Return where the texts end in their bytes, from 0 on, and the bytes; None where a text is missing."""
    if texts.null_count or not len(texts):
        return None
    _, ends, data = texts.buffers()
    places = np.frombuffer(ends, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if data is None or places[0] == places[-1]:
        return None
    return places - places[0], np.frombuffer(data, dtype=np.uint8)[places[0] : places[-1]]


def _products(numbers: _Longs, factors: _Longs) -> _Longs:
    """Return the products as pairs of words, the lower first: numbers below 10^18, factors up to 10^12."""
    words = np.empty((numbers.size, 2), dtype=np.int64)
    words[:, 0] = numbers * factors  # what does not fit is cut off, and in the other word
    carried = (numbers & _LIMB) * factors >> _LIMB_BITS
    carried = ((numbers >> _LIMB_BITS & _LIMB) * factors + carried) >> _LIMB_BITS
    carried += (numbers >> 2 * _LIMB_BITS) * factors
    words[:, 1] = carried >> 64 - 2 * _LIMB_BITS
    return words
