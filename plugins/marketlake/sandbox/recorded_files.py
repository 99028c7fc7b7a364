"""The recorded files: in which folder a market's are, and their columns as texts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from marketlake.errors import DataError
from marketlake.sandbox.listings import SPOT, UM

FOLDERS = {SPOT: "binance-spot", UM: "binance-um"}


def read_csv(file: Path, names: tuple[str, ...], *, header_lines: int = 1) -> Any:
    """Return the file's columns as texts, an empty field as null.

    Raises:
        DataError: the file cannot be read, or its columns are others; the text names it.
    """
    try:
        return pacsv.read_csv(
            str(file),
            read_options=pacsv.ReadOptions(column_names=names, skip_rows=header_lines),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def first_line(file: Path) -> str:
    """Return the first line of a gzipped text.

    Raises:
        DataError: the file cannot be read; the text names it.
    """
    try:
        with gzip.open(file, "rt") as lines:
            return lines.readline().rstrip("\r\n")
    except (OSError, EOFError, ValueError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"recorded file {file} cannot be read: {error}")
