"""The assets that bronze writes: one event per dataset and run, with the range that it covers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import Asset, AssetAlias

# An alias, because a run that loads nothing emits nothing; a fixed outlet would emit at every success.
BRONZE_LOADED = AssetAlias("bronze_loaded", group="marketlake")


def bronze_asset(dataset: str) -> Asset:
    """Return the asset of a dataset's bronze table."""
    # For any other unknown scheme Airflow loads all its providers in search of one that knows it: seconds a task.
    return Asset(name=f"bronze.{dataset}", uri=f"x-marketlake://bronze/{dataset}", group="marketlake")


def emit_loaded(context: Mapping[str, Any], loaded: Iterable[Mapping[str, Any]]) -> None:
    """Emit one event for each dataset that got rows: `{"dataset", "start", "end", "rows"}` each."""
    events = context["outlet_events"][BRONZE_LOADED]
    for item in loaded:
        extra = {name: item[name] for name in ("start", "end", "rows") if name in item}
        events.add(bronze_asset(item["dataset"]), extra=extra)
