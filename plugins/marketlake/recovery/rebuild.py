"""The ledger rebuilt: from sealed manifests, from the entries beside them, and from what bronze really holds.

One transaction replaces what the ledger says of manifests, loads and coverage; killed, it leaves the old state, and it
may be repeated. Runs, builds, publications, budgets and the DLQ's actions stay where they are. Every range is published
again afterwards, which changes no row that is right.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.compute as pc
from psycopg import sql

from marketlake.crash import crash_point
from marketlake.datasets import DATASETS, dataset_named
from marketlake.errors import DataError
from marketlake.lake.files import files_of, open_table, table_names
from marketlake.landing import LandingArea, read_manifest, sealed_manifests
from marketlake.ledger import Entries, incarnation, keep_entry, read_entries
from marketlake.recovery.remembered import recall_archives, recall_instruments, remember_archives
from marketlake.recovery.replay import REBUILD, Replay
from marketlake.recovery.sole_use import leased, without_runs
from marketlake.settings import Settings
from marketlake.work import Manifest

_REPLACED = (
    *("coverage_facts", "coverage", "markets", "loads", "market_verdicts", "agreements", "changes"),
    *("source_disagreements", "manifests"),
)


@dataclass(frozen=True)
class Landed:
    """What the landing area has: manifests by id, entries, and the files of both that cannot be read."""

    manifests: dict[str, tuple[Manifest, Path]]
    entries: Entries
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild came to; `waiting` manifests are loaded by the next run, `lost_loads` had no rows in bronze."""

    manifests: int
    entries: int
    loads: int
    facts: int
    markets: int
    changes: int
    waiting: int
    lost_loads: int
    damaged: tuple[str, ...]


def read_landed(settings: Settings) -> Landed:
    """Return what the ledger can be rebuilt from; nothing is changed."""
    manifests, unreadable = dict[str, tuple[Manifest, Path]](), list[str]()
    for path in sealed_manifests(settings.lake_root):
        try:
            manifest = read_manifest(path)
        except (DataError, OSError) as error:
            unreadable.append(str(error))
            continue
        manifests.setdefault(manifest.manifest_id, (manifest, path))
    entries = read_entries(LandingArea(settings.lake_root))
    return Landed(manifests, entries, (*unreadable, *entries.damaged))


def rebuild(settings: Settings, connection: psycopg.Connection, *, ends_runs: bool = False) -> Rebuilt:
    """Replace what the ledger says of manifests, loads and coverage by what landing area and bronze say.

    Raises:
        UnavailableError: a run is active, or another process writes a table; nothing was changed.
        DataError: the manifests are of several markets, or an entry is none.
    """
    tables = [dataset.table for dataset in DATASETS.values()]
    with leased(settings, tables), without_runs(connection, ends_runs=ends_runs):
        landed = read_landed(settings)
        area = LandingArea(settings.lake_root)
        _empty(connection)
        remember_archives(connection, settings.lake_root)
        _claim_market(connection, landed)
        replay = Replay(connection, area, landed.manifests)
        for entry in landed.entries.entries:
            replay.tell(entry)
        replay.register_rest()
        crash_point("rebuild.told")
        lost = _undo_what_bronze_lacks(connection, settings, area, replay)
        _keep_known_at_rising(connection, settings, replay)
        connection.execute("update ops.changes set is_told_again = true")
        recall_archives(connection)
        recall_instruments(connection, settings.lake_root)
        rebuilt = _counted(connection, landed, lost)
        crash_point("rebuild.before_commit")
    return rebuilt


def _empty(connection: psycopg.Connection) -> None:
    names = sql.SQL(", ").join(sql.Identifier("ops", name) for name in _REPLACED)
    connection.execute(sql.SQL("truncate {}").format(names))
    connection.execute("delete from ops.data_quality_logs where event_type in ('gap_detected', 'gap_filled')")


def _claim_market(connection: psycopg.Connection, landed: Landed) -> None:
    markets = sorted({manifest.feed_market for manifest, _ in landed.manifests.values()})
    if len(markets) > 1:
        raise DataError(
            f"the landing area holds manifests of several markets: {', '.join(markets)}; a lake has one: move the"
            " others away"
        )
    if markets:
        connection.execute("insert into ops.lake (market) values (%s) on conflict do nothing", markets)


def _undo_what_bronze_lacks(
    connection: psycopg.Connection, settings: Settings, area: LandingArea, replay: Replay
) -> int:
    """Undo the loads whose rows are not in bronze, as after a table that was put back from a copy, and note that."""
    count = 0
    by_table: dict[str, list[str]] = defaultdict(list)
    for load_id, load in replay.loads.items():
        if load_id not in replay.lost:
            by_table[load.table].append(load_id)
    for dataset in DATASETS.values():
        held = _load_ids(settings.lake_root, dataset.table)
        lost, has_begun = set[str](), False
        for load_id in by_table[dataset.table]:
            load = replay.loads[load_id]
            wrote = load.appended_rows + load.retracted_rows > 0
            has_begun = has_begun or (wrote and load_id not in held)
            # From the first lost load on, those that only agreed may have agreed with what is lost.
            if has_begun and load_id not in held:
                lost.add(load_id)
        if lost:
            count += len(lost)
            _undo(connection, area, replay, dataset.name, lost)
    return count


def _undo(connection: psycopg.Connection, area: LandingArea, replay: Replay, dataset: str, lost: set[str]) -> None:
    table = dataset_named(dataset).table
    number = incarnation(connection, table) + 1
    replay.undo(dataset, lost, incarnation=number, run_id=REBUILD)
    with connection.cursor() as cursor:
        keep_restored(cursor, area, {load_id: replay.loads[load_id].exchange for load_id in lost}, dataset, number)


def keep_restored(
    cursor: psycopg.Cursor[Any],
    area: LandingArea,
    lost: dict[str, str],
    dataset: str,
    number: int,
    *,
    run_id: str = REBUILD,
    **more: Any,
) -> None:
    """Write the entries of loads that a table lost, given with their exchanges: one for each exchange."""
    for exchange in sorted(set(lost.values())):
        ids = sorted(load_id for load_id, of in lost.items() if of == exchange)
        where = {"exchange": exchange, "dataset": dataset, "run_id": run_id}
        keep_entry(cursor, area, "restored", **where, lost=ids, incarnation=number, **more)


def _load_ids(root: str, table: str) -> set[str]:
    if table not in table_names(root):
        return set()
    found = set[str]()
    for batch in open_table(root, table).to_pyarrow_dataset().to_batches(columns=["load_id"]):
        found.update(pc.unique(batch.column("load_id")).to_pylist())
    return found


def _keep_known_at_rising(connection: psycopg.Connection, settings: Settings, replay: Replay) -> None:
    """The next known_at must be later than any that a row carries or a load drew."""
    for dataset in DATASETS.values():
        known = [load.known_at for load in replay.loads.values() if load.table == dataset.table and load.known_at]
        if dataset.table in table_names(settings.lake_root):
            files = files_of(open_table(settings.lake_root, dataset.table), dataset.table, ["known_at"]).files
            known += [file.bounds["known_at"][1] for file in files if file.bounds.get("known_at", (None, None))[1]]
        if known:
            connection.execute(
                "insert into ops.table_state as held (table_name, last_known_at) values (%s, %s)"
                " on conflict (table_name) do update"
                " set last_known_at = greatest(held.last_known_at, excluded.last_known_at)",
                [dataset.table, max(known)],
            )


def _counted(connection: psycopg.Connection, landed: Landed, lost: int) -> Rebuilt:
    row = connection.execute(
        "select (select count(*) from ops.loads where step = 'loaded'), (select count(*) from ops.coverage_facts),"
        " (select count(*) from ops.markets), (select count(*) from ops.changes where publication_id is null),"
        " (select count(*) from ops.manifests where state = 'waiting')"
    ).fetchone()
    loads, facts, markets, changes, waiting = (int(value) for value in row or (0, 0, 0, 0, 0))
    return Rebuilt(
        manifests=len(landed.manifests),
        entries=len(landed.entries.entries),
        loads=loads,
        facts=facts,
        markets=markets,
        changes=changes,
        waiting=waiting,
        lost_loads=lost,
        damaged=landed.unreadable,
    )
