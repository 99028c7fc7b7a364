"""Ranges of one series that never overlap: those of a window are found from its start on, however many lie before."""

from __future__ import annotations


def not_before(table: str, series: str, *, is_touching: bool = False) -> str:
    """Return the condition that leaves out what ends before an instant, for an index on the series and `range_start`.

    `series` is the condition that names the series; its parameters and the instant follow. The last range that begins
    at the instant or before may reach over it, with `is_touching` also the last that begins before it.
    """
    begins = "<" if is_touching else "<="
    last = f"select max(range_start) from {table} where {series} and range_start {begins} %s"
    return f"range_start >= coalesce(({last}), '-infinity'::timestamptz)"
