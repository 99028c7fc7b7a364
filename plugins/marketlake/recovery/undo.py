"""Loads undone: what they told the ledger is revoked, and their manifests wait to be loaded again.

Shared by the restore of a table and by a rebuild that finds loads whose rows are not in bronze.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import psycopg

from marketlake.datasets import Dataset
from marketlake.instants import Window
from marketlake.ledger import Agreement, Fact, LoadRecord, apply_facts, reset_watermark
from marketlake.ledger.agreements import record_agreements
from marketlake.ledger.archive_files import record_loaded_archives
from marketlake.ledger.coverage import facts_without
from marketlake.ledger.facts import RESTORED, REVOKED, joined
from marketlake.publish.bronze_tables import table_name

Market = tuple[str, str, str, str]


def undo_loads(
    connection: psycopg.Connection,
    dataset: Dataset,
    lost: Collection[str],
    *,
    incarnation: int,
    told: Mapping[str, LoadRecord],
    run_id: str,
) -> list[Market]:
    """Undo these loads in the caller's transaction; return the markets of which ranges were revoked.

    What other loads said about these ranges stands. `told` are the loads that the ledger still believes, by id in their
    order; their agreements and archives are taken again. Rows of the lost loads leave Postgres, so that an earlier
    revision may take their place.
    """
    ids = sorted(lost)
    windows = _told_windows(connection, ids)
    facts = [
        Fact(*market, window=window, state=REVOKED, cause=RESTORED)
        for market, ranges in windows.items()
        for window in joined(ranges)
    ]
    with connection.cursor() as cursor:
        _raise_incarnation(cursor, dataset.table, incarnation)
        kept = {market: facts_without(cursor, market, joined(windows[market]), load_ids=ids) for market in windows}
        apply_facts(cursor, facts, run_id=run_id)
        _tell_again(cursor, kept.values(), run_id)
        _agree_again(cursor, lost, told)
        cursor.execute("delete from ops.source_disagreements where load_id = any(%s)", [ids])
        cursor.execute("update ops.changes set publication_id = null where load_id = any(%s)", [ids])
        _load_archives_again(cursor, lost, told)
        cursor.execute(
            "update ops.manifests set state = 'waiting', load_id = null, judged_at = null where manifest_id in"
            " (select manifest_id from ops.loads where step = 'loaded' and load_id = any(%s))",
            [ids],
        )
        _leave_postgres(cursor, dataset, ids)
    for market in windows:
        reset_watermark(connection, *market)
    return sorted(windows)


def _told_windows(connection: psycopg.Connection, ids: list[str]) -> dict[Market, list[Window]]:
    rows = connection.execute(
        "select dataset, exchange, symbol, timeframe, range_start, range_end from ops.coverage_facts"
        " where load_id = any(%s) order by 1, 2, 3, 4, 5",
        [ids],
    ).fetchall()
    windows: dict[Market, list[Window]] = {}
    for *market, start, end in rows:
        windows.setdefault((market[0], market[1], market[2], market[3]), []).append(Window(start, end))
    return windows


def _tell_again(cursor: psycopg.Cursor[Any], told: Iterable[Sequence[tuple[str | None, Fact]]], run_id: str) -> None:
    """Tell what others than the lost loads said about the ranges: what of it they hold is not open."""
    for facts in told:
        for load_id, of_one in groupby(facts, key=lambda item: item[0]):
            apply_facts(cursor, [fact for _, fact in of_one], run_id=run_id, load_id=load_id)


def _raise_incarnation(cursor: psycopg.Cursor[Any], table: str, incarnation: int) -> None:
    cursor.execute(
        "insert into ops.table_state as held (table_name, incarnation) values (%s, %s) on conflict (table_name)"
        " do update set incarnation = greatest(held.incarnation, excluded.incarnation)",
        [table, incarnation],
    )


def _agree_again(cursor: psycopg.Cursor[Any], lost: Collection[str], told: Mapping[str, LoadRecord]) -> None:
    """Forget the agreements of every series in which a lost load agreed, and take those of the other loads again."""
    gone = {_series(item) for load_id in lost if load_id in told for item in told[load_id].agreements}
    for series in sorted(gone):
        cursor.execute(
            "delete from ops.agreements where dataset = %s and exchange = %s and symbol = %s and timeframe = %s"
            " and source = %s",
            series,
        )
    kept: Iterable[Agreement] = (
        item for load_id, load in told.items() if load_id not in lost for item in load.agreements
    )
    record_agreements(cursor, [item for item in kept if _series(item) in gone])


def _load_archives_again(cursor: psycopg.Cursor[Any], lost: Collection[str], told: Mapping[str, LoadRecord]) -> None:
    """Let the lost loads' archives be what the other loads made of them: a re-issue is told by the bytes before it."""
    rows = cursor.execute(
        "update ops.archive_files set status = 'verified', loaded_sha256 = null, loaded_at = null, load_id = null,"
        " row_count = null, first_at = null, last_at = null where load_id = any(%s) returning exchange, path",
        [sorted(lost)],
    ).fetchall()
    gone = set(rows)
    for load_id, load in told.items():
        kept = [item for item in load.archives if load_id not in lost and (load.exchange, item.path) in gone]
        record_loaded_archives(cursor, load.exchange, kept, load_id=load_id)


def _series(item: Agreement) -> tuple[str, str, str, str, str]:
    return item.dataset, item.exchange, item.symbol, item.timeframe, item.source


def _leave_postgres(cursor: psycopg.Cursor[Any], dataset: Dataset, ids: list[str]) -> None:
    from psycopg import sql

    row = cursor.execute("select to_regclass(%s) is not null", [dataset.table]).fetchone()
    if row and row[0]:
        cursor.execute(sql.SQL("delete from {} where load_id = any(%s)").format(table_name(dataset)), [ids])
