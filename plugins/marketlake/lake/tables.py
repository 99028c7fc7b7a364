"""A table's own history: its versions, and what it held at one of them (Delta's clock, not `as_of`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from marketlake.datasets import DATASETS
from marketlake.errors import DataError, UsageError
from marketlake.instants import as_utc, format_instant, from_epoch_ms
from marketlake.lake.files import TableFiles, files_of, open_table, table_names


def table_named(root: str, text: str) -> str:
    """Return the lake's name of a table, `<layer>.<table>`, for that name, the part after the dot, or a `raw_*` view.

    Raises:
        UsageError: the lake has no such table; the text names those it has.
    """
    views = {view: dataset.table for dataset in DATASETS.values() for view in dataset.views}
    names = table_names(root)
    if text in views and views[text] in names:
        return views[text]
    fitting = [name for name in names if text in (name, name.partition(".")[2])]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(names) or "none yet: load something with `marketlake run`"
    raise UsageError(f"the lake at {root} has no table {text!r}; its tables: {known}")


def get_table_history(root: str, table_name: str) -> list[dict[str, Any]]:
    """Return the versions of a table that its log still states, newest first.

    Each has `version`, `timestamp` (UTC), `operation`, `operationParameters`, `operationMetrics`, `run_id` and
    `load_id` (None where the commit names none).
    """
    entries = open_table(root, table_named(root, table_name)).history()
    return sorted((_entry(entry) for entry in entries), key=lambda entry: -int(entry["version"]))


def read_table(
    root: str, table_name: str, *, as_of_timestamp: datetime | None = None, version: int | None = None
) -> pa.Table:
    """Return all rows of a table now, at a version, or as it stood at an instant of Delta's clock.

    Raises:
        UsageError: both arguments; an instant before the first version or in the future; an unknown or vacuumed
            version; the text names the earliest available instant.
    """
    if as_of_timestamp is not None and version is not None:
        raise UsageError("name either as_of_timestamp or version, not both")
    name = table_named(root, table_name)
    table = open_table(root, name)
    if as_of_timestamp is not None:
        version = version_at(root, name, as_utc(as_of_timestamp))
    if version is not None:
        _load_version(table, root, name, version)
    return _rows(table, root, name)


def files_at(root: str, name: str, version: int, columns: Iterable[str]) -> TableFiles:
    """Return the files of a table at one of its versions, with bounds for these columns.

    Raises:
        UsageError: an unknown or vacuumed version; the text names the earliest available one.
    """
    table = open_table(root, name)
    _load_version(table, root, name, version)
    return _complete_files(table, root, name, columns)


def version_at(root: str, name: str, instant: datetime) -> int:
    """Return the version of a table that was the newest at an instant of Delta's clock.

    Raises:
        UsageError: an instant before the first version or in the future; the text names the earliest one.
    """
    history = get_table_history(root, name)
    if instant > datetime.now(UTC):
        raise UsageError(f"as_of_timestamp lies in the future; was {format_instant(instant)}; {_earliest(root, name)}")
    before = [int(entry["version"]) for entry in history if entry["timestamp"] <= instant]
    if not before:
        raise UsageError(f"table {name} has no version at {format_instant(instant)}; {_earliest(root, name)}")
    return max(before)


def _load_version(table: DeltaTable, root: str, name: str, version: int) -> None:
    newest = table.version()
    if not 0 <= version <= newest:
        raise UsageError(f"table {name} has versions up to {newest}; was {version}; {_earliest(root, name)}")
    try:
        table.load_as_version(version)
    except Exception as error:  # deltalake has no type of its own for a log that was cleaned up
        raise UsageError(f"version {version} of {name} is no longer in its log; {_earliest(root, name)}") from error


def _rows(table: DeltaTable, root: str, name: str) -> pa.Table:
    from marketlake.lake.sql import dataset_of_files

    return dataset_of_files(_complete_files(table, root, name, [])).to_table()


def _complete_files(table: DeltaTable, root: str, name: str, columns: Iterable[str]) -> TableFiles:
    files = files_of(table, name, columns)
    missing = [file.path for file in files.files if not Path(file.path).is_file()]
    if missing:
        where = f"version {files.version} of {name} lacks {len(missing)} of its files, such as {missing[0]}"
        if files.version == open_table(root, name).version():
            raise DataError(f"{where}: restore the table")
        raise UsageError(f"{where}: it was vacuumed; {_earliest(root, name)}")
    return files


def _earliest(root: str, name: str) -> str:
    """Say from when on the table can be read: its oldest version whose files are all there."""
    for entry in reversed(get_table_history(root, name)):
        try:
            table = open_table(root, name)
            table.load_as_version(int(entry["version"]))
        except Exception:
            continue  # this version is gone, the next one may be there
        if all(Path(file.path).is_file() for file in files_of(table, name, []).files):
            return f"the earliest available is version {entry['version']} of {format_instant(entry['timestamp'])}"
    return "no version of it is complete"


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    ours = _user_metadata(entry)
    return {
        "version": entry["version"],
        "timestamp": from_epoch_ms(entry["timestamp"]),
        "operation": entry.get("operation"),
        "operationParameters": entry.get("operationParameters", {}),
        "operationMetrics": entry.get("operationMetrics", {}),
        "run_id": ours.get("run_id"),
        "load_id": ours.get("load_id"),
    }


def _user_metadata(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the committing load said of itself; Spark keeps it as one text, delta-rs as keys of the commit."""
    try:
        stated = json.loads(entry.get("userMetadata") or "{}")
    except json.JSONDecodeError:
        stated = {}
    return {**entry, **stated} if isinstance(stated, dict) else dict(entry)
