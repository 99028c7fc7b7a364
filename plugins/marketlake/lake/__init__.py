"""Reads of the lake without a JVM: the SDK, SQL through DuckDB, histories and time travel."""

from __future__ import annotations

from marketlake.lake.sdk import Lake

__all__ = ["Lake"]
