"""What a command prints: one JSON document for programs, or tables for people. Logs go to standard error."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from marketlake.cli.json_text import decimal_text, json_text
from marketlake.instants import format_instant

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Output:
    """Standard output of one command. With `as_json` only `document` prints, otherwise everything else does."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, document: object) -> None:
        """Print the one JSON document, on one line."""
        if self.as_json:
            print(json_text(document), flush=True)

    def say(self, text: str = "") -> None:
        """Print a sentence for people."""
        if not self.as_json:
            print(text, flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, note: str = "") -> None:
        """Print a table for people; numbers are set to the right, None stays empty."""
        if self.as_json:
            return
        listed = [list(row) for row in rows]
        if not listed and title:
            print(f"{title}: none", flush=True)
            return
        from rich import box
        from rich.table import Table

        table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", caption=note)
        for position, column in enumerate(columns):
            is_number = any(isinstance(row[position], int | float | Decimal) for row in listed)
            table.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for row in listed:
            table.add_row(*(cell(value) for value in row))
        console().print(table)

    def print(self, renderable: Any) -> None:
        """Print something that rich can draw."""
        if not self.as_json:
            console().print(renderable)


def console() -> Any:
    """Return the console on standard output; wide where that is a file, so that nothing is cut."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)


def cell(value: object) -> str:
    """Return the short text of a value in a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, Decimal):
        return str(decimal_text(value))
    if isinstance(value, datetime):
        return value.isoformat(sep=" ") if value.tzinfo is None else format_instant(value)
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return str(value).replace("[", r"\[")


def share(fraction: float | None) -> str | None:
    """Return a fraction as per cent, rounded down, so that only what is complete reads 100%."""
    if fraction is None:
        return None
    return f"{math.floor(fraction * 1_000_000) / 10_000:.4f}".rstrip("0").rstrip(".") + "%"


def size_text(size: int | None) -> str | None:
    """Return a number of bytes in the unit that a person reads."""
    if size is None:
        return None
    amount, units = float(size), ["B", "KiB", "MiB", "GiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def log_to_stderr(level: str) -> None:
    """Send the library's log to standard error, short; other packages speak from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("marketlake").setLevel(_LEVELS[level])
