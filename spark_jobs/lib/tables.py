"""Reading Delta tables as they are and as they were: by version or by Delta's own clock (LAKE-16, LAKE-17)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from marketlake.errors import UsageError
from marketlake.instants import as_utc, format_instant
from marketlake.lake.files import open_table, table_path


def read_table(
    spark: SparkSession,
    root: str,
    table_name: str,
    *,
    as_of_timestamp: datetime | None = None,
    version: int | None = None,
) -> DataFrame:
    """Return the table now, at a version, or as it stood at an instant of Delta's clock.

    Raises:
        UsageError: both are given; the instant or version is not there (any more); there is no such table.
    """
    if as_of_timestamp is not None and version is not None:
        raise UsageError("read_table takes as_of_timestamp or version, not both")
    table = open_table(root, table_name)
    path = table_path(root, table_name)
    if as_of_timestamp is None and version is None:
        return spark.read.format("delta").load(path)
    history = get_table_history(root, table_name)
    wanted = version if version is not None else _version_at(table_name, history, as_utc(as_of_timestamp or _NEVER))
    _check_version(table, table_name, history, wanted)
    return spark.read.format("delta").option("versionAsOf", wanted).load(path)


def get_table_history(root: str, table_name: str) -> list[dict[str, Any]]:
    """Return the table's versions, newest first: version, timestamp (UTC), operation, operationMetrics, run_id.

    `run_id` and `load_id` are None for versions that no load made.

    Raises:
        UsageError: there is no such table.
    """
    commits = open_table(root, table_name).history()
    return sorted((_entry(commit) for commit in commits), key=lambda entry: -entry["version"])


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def _entry(commit: dict[str, Any]) -> dict[str, Any]:
    try:
        metadata = json.loads(commit.get("userMetadata") or "{}")
    except ValueError:
        metadata = {}
    known = metadata if isinstance(metadata, dict) else {}
    return {
        "version": int(commit["version"]),
        "timestamp": datetime.fromtimestamp(commit["timestamp"] / 1000, UTC),
        "operation": commit["operation"],
        "operationMetrics": commit.get("operationMetrics") or {},
        "run_id": known.get("run_id"),
        "load_id": known.get("load_id"),
    }


def _version_at(name: str, history: list[dict[str, Any]], instant: datetime) -> int:
    # The newest version is how the table stands now, whenever it was made: a day ago must be readable on any day.
    oldest, now = history[-1], datetime.now(UTC)
    if not oldest["timestamp"] <= instant <= now:
        raise UsageError(
            f"table {name} can be read as of {format_instant(oldest['timestamp'])} (the earliest) to now, "
            f"{format_instant(now)}; was {format_instant(instant)}"
        )
    return int(next(entry["version"] for entry in history if entry["timestamp"] <= instant))


def _check_version(table: DeltaTable, name: str, history: list[dict[str, Any]], version: int) -> None:
    known = {entry["version"]: entry["timestamp"] for entry in history}
    if version in known and _has_its_files(table, version):
        return
    available = next((number for number in sorted(known) if _has_its_files(table, number)), max(known))
    why = "its files were vacuumed" if version in known else "it is not in the log"
    raise UsageError(
        f"version {version} of table {name} cannot be read, {why}; the earliest available is version {available} of "
        f"{format_instant(known[available])}"
    )


def _has_its_files(table: DeltaTable, version: int) -> bool:
    files: Iterable[str] = DeltaTable(table.table_uri, version=version).file_uris()
    return all("://" in uri or Path(uri).exists() for uri in files)
