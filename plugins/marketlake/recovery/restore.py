"""A bronze table put back to an earlier version, as a new incarnation: the loads that it loses are loaded again.

The ledger first, then the table: killed in between, ranges are open of which the table still has the rows, and the next
load finds them equal. The other way round rows would be missing that the ledger believes to be there.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from deltalake import CommitProperties

from marketlake.crash import crash_point
from marketlake.datasets import DATASETS, Dataset
from marketlake.errors import UsageError
from marketlake.lake.files import open_table
from marketlake.lake.tables import files_at
from marketlake.landing import LandingArea
from marketlake.ledger import LoadRecord, incarnation, read_entries, typed
from marketlake.recovery.rebuild import keep_restored
from marketlake.recovery.sole_use import leased, without_runs
from marketlake.recovery.undo import undo_loads
from marketlake.settings import Settings


@dataclass(frozen=True)
class Restore:
    """What a restore undoes: load ids with their exchanges, and how many rows they had added."""

    table: str
    from_version: int
    to_version: int
    lost: dict[str, str]
    lost_rows: int
    manifests: int


def dataset_of_table(table: str) -> Dataset:
    """Return the dataset whose bronze table this is.

    Raises:
        UsageError: it is none; the text says what restores it.
    """
    for dataset in DATASETS.values():
        if dataset.table == table:
            return dataset
        if dataset.dlq_table == table:
            raise UsageError(f"{table} is written by the loads of {dataset.table} and only grows: restore that one")
    if table.startswith("control."):
        raise UsageError(f"{table} is a mirror of the ledger: `marketlake ledger mirror` writes it anew")
    known = ", ".join(dataset.table for dataset in DATASETS.values())
    raise UsageError(f"a table to restore must be one of {known}; was {table!r}")


def plan_restore(settings: Settings, connection: psycopg.Connection, dataset: Dataset, version: int) -> Restore:
    """Return what a restore to the version would undo; nothing is changed.

    Raises:
        UsageError: the version is the newest one, unknown, or vacuumed; the text names the earliest one.
    """
    newest = open_table(settings.lake_root, dataset.table).version()
    files_at(settings.lake_root, dataset.table, version, [])
    if version == newest:
        raise UsageError(f"{dataset.table} is at version {version}: there is nothing to restore")
    rows = connection.execute(
        "with loaded as (select * from ops.loads where step = 'loaded' and table_name = %(table)s)"
        " select load_id, exchange, appended_rows + retracted_rows, manifest_id from loaded"
        " where delta_version > %(version)s"
        # What only agreed may have agreed with what is lost.
        " or (delta_version is null and recorded_at >="
        " (select min(recorded_at) from loaded where delta_version > %(version)s)) order by recorded_at",
        {"table": dataset.table, "version": version},
    ).fetchall()
    return Restore(
        table=dataset.table,
        from_version=newest,
        to_version=version,
        lost={load_id: exchange for load_id, exchange, _, _ in rows},
        lost_rows=sum(int(count) for _, _, count, _ in rows),
        manifests=len({manifest_id for _, _, _, manifest_id in rows if manifest_id}),
    )


def restore(
    settings: Settings,
    connection: psycopg.Connection,
    dataset: Dataset,
    version: int,
    *,
    run_id: str,
    ends_runs: bool = False,
) -> Restore:
    """Put the table back and let the loads that it loses be loaded again from the landing area by the next run.

    Raises:
        UsageError: as `plan_restore`.
        UnavailableError: a run is active, or another process writes the table; nothing was changed.
    """
    area = LandingArea(settings.lake_root)
    with leased(settings, [dataset.table]):
        with without_runs(connection, ends_runs=ends_runs):
            planned = plan_restore(settings, connection, dataset, version)
            number = incarnation(connection, dataset.table) + 1
            told = _told(area, dataset)
            undo_loads(connection, dataset, set(planned.lost), incarnation=number, told=told, run_id=run_id)
            with connection.cursor() as cursor:
                keep_restored(cursor, area, planned.lost, dataset.name, number, run_id=run_id, version=version)
        crash_point("restore.between_ledger_and_table")
        # Still under the lease: a load in between would be undone without the ledger's knowing.
        _put_back(settings, dataset, planned, run_id)
    return planned


def _put_back(settings: Settings, dataset: Dataset, planned: Restore, run_id: str) -> None:
    table = open_table(settings.lake_root, dataset.table)
    table.restore(planned.to_version, commit_properties=CommitProperties(custom_metadata={"run_id": run_id}))


def _told(area: LandingArea, dataset: Dataset) -> dict[str, LoadRecord]:
    """Return what the loads of the dataset told the ledger, those left out that an earlier restore undid."""
    loads, lost = dict[str, LoadRecord](), set[str]()
    for entry in read_entries(area, dataset=dataset.name).entries:
        if entry.kind == "loaded":
            load = typed(LoadRecord, entry.body["load"])
            loads[load.load_id] = load
        elif entry.kind == "restored":
            lost.update(str(load_id) for load_id in entry.body["lost"])
    return {load_id: load for load_id, load in loads.items() if load_id not in lost}
