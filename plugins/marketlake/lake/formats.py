"""The three shapes a reader may ask for."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from marketlake.errors import UnknownNameError, one_of
from marketlake.lake.floats import floats_of

FORMATS = ("arrow", "pandas", "polars")


def check_format(format: str) -> str:
    """Return the format if it is one of `FORMATS`.

    Raises:
        UnknownNameError: it is not.
    """
    if format not in FORMATS:
        raise UnknownNameError(one_of("format", format, FORMATS))
    return format


def in_format(table: pa.Table, format: str, *, exact: bool) -> Any:
    """Return the table as Arrow, pandas or polars; decimals become the nearest doubles unless `exact`."""
    table = table if exact else floats_of(table)
    if format == "pandas":
        return table.to_pandas()
    if format == "polars":
        import polars as pl

        return pl.from_arrow(table)
    return table
