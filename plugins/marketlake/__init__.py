"""A lakehouse for crypto market data: fetch, prove, publish and read candles and funding rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketlake.lake import Lake

__all__ = ["Lake"]


def __getattr__(name: str) -> Any:
    # Reading the lake pulls in Arrow and DuckDB; a command that needs neither must not pay for them.
    if name == "Lake":
        from marketlake.lake import Lake

        return Lake
    raise AttributeError(f"module 'marketlake' has no attribute {name!r}")
