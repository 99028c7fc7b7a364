"""Reads of the lake without a JVM: the SDK, SQL through DuckDB, histories and time travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketlake.lake.sdk import Lake

__all__ = ["Lake"]


def __getattr__(name: str) -> Any:
    # Who only looks at a table's files must not pay for polars.
    if name == "Lake":
        from marketlake.lake.sdk import Lake

        return Lake
    raise AttributeError(f"module 'marketlake.lake' has no attribute {name!r}")
