"""The few functions of a predicate that Spark, Postgres and DuckDB write differently.

A predicate is SQL that all three share, with marks such as `@epoch_us(open_time)` where they differ; `render` replaces
the marks. A mark's arguments are column names or plain words, never expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from marketlake.timeframes import timeframe_length

# Grids that rules know: the datasets' timeframes and the exchange's other ones. An unknown one gives null: failed.
GRID_TIMEFRAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
_MARK = re.compile(r"@(\w+)\(([^()]*)\)")


class Dialect(StrEnum):
    """Where a predicate runs."""

    SPARK = "spark"
    POSTGRES = "postgres"
    DUCKDB = "duckdb"


def render(predicate: str, dialect: Dialect) -> str:
    """Return the predicate in the dialect's own SQL.

    Raises:
        KeyError: the predicate has a mark that no dialect knows.
    """

    def replace(match: re.Match[str]) -> str:
        arguments = [part.strip() for part in match[2].split(",")]
        return _FUNCTIONS[match[1]](dialect, *arguments)

    return _MARK.sub(replace, predicate)


def _epoch_us(dialect: Dialect, column: str) -> str:
    """Microseconds since 1970 of an instant, as a whole number."""
    if dialect is Dialect.SPARK:
        return f"unix_micros({column})"
    if dialect is Dialect.DUCKDB:
        return f"epoch_us({column})"
    return f"(extract(epoch from {column}) * 1000000)::bigint"


def _instant(dialect: Dialect, text: str) -> str:
    """A fixed instant, whatever the session's time zone."""
    if dialect is Dialect.SPARK:
        return f"timestamp '{text} 00:00:00+00:00'"
    return f"timestamptz '{text} 00:00:00+00:00'"


def _on_grid(dialect: Dialect, column: str, timeframe: str) -> str:
    """Whether an instant is a multiple of the timeframe since 1970."""
    lengths = " ".join(
        f"when '{name}' then {int(timeframe_length(name).total_seconds()) * 1_000_000}" for name in GRID_TIMEFRAMES
    )
    return f"{_epoch_us(dialect, column)} % (case {timeframe} {lengths} end) = 0"


_FUNCTIONS: dict[str, Callable[..., str]] = {"epoch_us": _epoch_us, "instant": _instant, "on_grid": _on_grid}
