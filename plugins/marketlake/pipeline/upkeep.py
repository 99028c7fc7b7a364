"""The steps after the data: compaction, dashboards, the mirror of the ledger in the lake."""

from __future__ import annotations

from typing import Any

from marketlake.pipeline.call import StepCall


def optimize_delta_tables(call: StepCall) -> dict[str, Any]:
    """Compact the partitions that the run wrote, with delta-rs, no JVM (LAKE-19)."""
    from marketlake.lake.compaction import compact_loads

    return dict(compact_loads(call.settings, call.connection, call.load_ids()))


def refresh_grafana_dashboards(call: StepCall) -> dict[str, Any]:
    """Do nothing where no Grafana is configured, and say so."""
    return {"skipped": "no Grafana is configured"}


def mirror_ledger(call: StepCall) -> dict[str, Any]:
    """Write the ledger's tables to `control.*` in the lake, where their content changed."""
    from marketlake.ledger.mirror import mirror

    return {"written": mirror(call.connection, call.settings.lake_root)}
