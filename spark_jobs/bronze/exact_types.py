"""The exchange's text to exact Arrow values. A text that does not fit becomes null; nothing is ever rounded (GEN-03).

Runs inside Spark's executors, on whole columns.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc

from marketlake.exchanges import plain_numbers

DECIMAL = plain_numbers.DECIMAL
INSTANT = pa.timestamp("us", tz="UTC")
# decimal(28,12): sixteen digits before the point; after it twelve, and zeros that change nothing.
_FITS = r"^[+-]?([0-9]{1,16}|0+[0-9]{1,16})(\.[0-9]{0,12}0*)?$|^[+-]?\.[0-9]{1,12}0*$"
# How exchanges write a decimal: nothing before its first digit, and always a point.
_PLAIN = r"^(0|[1-9][0-9]{0,15})\.[0-9]{1,12}$"
_HAS_EXPONENT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,3}$"
_WHOLE = r"^[+-]?[0-9]{1,18}$"
_LARGEST_EXPONENT = 40
_DIGITS_AFTER_POINT = 12


def texts(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the column as trimmed text, with empty text as null."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return _where(pc.not_equal(trimmed, ""), trimmed)


def plain_decimals(raw: pa.Array) -> tuple[pa.Array, pa.Array] | None:
    """Return decimal(28,12) of the raw texts and their shortest text; None where one is not written the usual way."""
    values = plain_numbers.decimals(raw)
    if values is None:
        if not pc.all(pc.match_substring_regex(raw, _PLAIN), min_count=0).as_py():
            return None
        values = raw.cast(DECIMAL)
    return values, pc.ascii_rtrim(pc.ascii_rtrim(raw, "0"), ".")


def decimals(values: pa.Array) -> pa.Array:
    """Return decimal(28,12) of the texts; null where a text is unreadable or would lose a digit."""
    plain = _without_exponents(values)
    return _where(pc.match_substring_regex(plain, _FITS), plain).cast(DECIMAL)


def shortest(values: pa.Array) -> pa.Array:
    """Return decimals in plain digits without zeros at their end; Arrow's own text has exponents and every zero."""
    values = values.cast(DECIMAL)
    # The same bytes without a point are whole numbers, whose text Arrow writes plainly.
    whole = pa.Array.from_buffers(pa.decimal128(28, 0), len(values), values.buffers(), offset=values.offset)
    written = whole.cast(pa.string())
    sign = pc.if_else(pc.starts_with(written, "-"), "-", "")
    digits = pc.utf8_lpad(pc.utf8_ltrim(written, "-"), _DIGITS_AFTER_POINT + 1, "0")
    before = pc.utf8_slice_codeunits(digits, 0, -_DIGITS_AFTER_POINT)
    after = pc.utf8_rtrim(pc.utf8_slice_codeunits(digits, -_DIGITS_AFTER_POINT), "0")
    return pc.utf8_rtrim(pc.binary_join_element_wise(pc.binary_join_element_wise(sign, before, ""), after, "."), ".")


def whole_numbers(values: pa.Array) -> pa.Array:
    """Return int64 of the texts; null where a text is not a whole number of at most 18 digits."""
    kept = _where(pc.match_substring_regex(values, _WHOLE), values)
    return pc.utf8_ltrim(kept, "+").cast(pa.int64())


def booleans(values: pa.Array) -> pa.Array:
    """Return true and false of the texts, in any case; null where a text is neither."""
    lower = pc.utf8_lower(values)
    is_known = pc.is_in(lower, value_set=pa.array(["true", "false"]))
    return pc.if_else(is_known, pc.equal(lower, "true"), pa.scalar(None, pa.bool_()))


def cut_to_milliseconds(values: pa.Array) -> pa.Array:
    """Return the instants without their digits below the millisecond."""
    counts = values.cast(pa.int64())
    milliseconds = pc.multiply(pc.floor(pc.divide(counts, 1_000)).cast(pa.int64()), 1_000)
    return milliseconds.cast(pa.timestamp("us")).cast(INSTANT)


def nearest_minute(values: pa.Array) -> pa.Array:
    """Return the instants rounded to the nearest minute, half a minute upwards."""
    counts = values.cast(pa.int64())
    minutes = pc.divide(pc.add(counts, 30_000_000), 60_000_000)
    return pc.multiply(minutes, 60_000_000).cast(pa.timestamp("us")).cast(INSTANT)


def _without_exponents(values: pa.Array) -> pa.Array:
    found = pc.fill_null(pc.match_substring_regex(values, _HAS_EXPONENT), False)
    if not pc.any(found).as_py():
        return values
    plain = [
        _plain(text) if text is not None and is_found else text
        for text, is_found in zip(values.to_pylist(), found.to_pylist(), strict=True)
    ]
    return pa.array(plain, pa.string())


def _plain(text: str) -> str | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    # Beyond this nothing fits, and writing a number of 900 digits out would only cost time.
    return f"{number:f}" if abs(number.adjusted()) <= _LARGEST_EXPONENT else None


def _where(condition: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(pc.fill_null(condition, False), values, pa.scalar(None, values.type))
