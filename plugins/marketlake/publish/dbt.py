"""The four tasks of a build: staging and silver, marts, tests, merge; one build at a time, pinned and alive (rule 9).

Each task first makes sure that its run still holds the build. One whose build was closed or taken over waits until its
publications are built, and builds them itself if nobody does. Tasks that one process does share dbt's in a session.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from marketlake.crash import crash_point
from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.instants import format_instant
from marketlake.ledger import (
    Build,
    BuildLostError,
    beating,
    built_until,
    close_build,
    newest_build_of,
    newest_publication,
    open_build,
    open_build_of,
    run_named,
)
from marketlake.ledger.builds import DEAD_AFTER_SECONDS
from marketlake.publish.bronze_tables import ensure_bronze_tables
from marketlake.publish.dbt_process import DbtResult, run_dbt
from marketlake.publish.dbt_session import PROJECT, DbtSession, dbt_folder
from marketlake.publish.dbt_test_page import write_test_page
from marketlake.publish.gold import drop_removed_marts, merge_marts
from marketlake.rules import CONFORM_COLUMNS, FUNDING_RULES, OHLCV_RULES, Dialect, render
from marketlake.settings import Settings

_SILVER = ("run", "--selector", "silver")
_MARTS = ("run", "--selector", "marts")
_TESTS = ("test", "--selector", "data_tests")
_POLL_SECONDS = 2.0
_BUILT_ELSEWHERE = {"note": "another run has built these publications"}
_BUILT_BY_ITSELF = {
    "note": "this run's build is merged already; to compute everything anew: marketlake step build --full-refresh"
}
_LOG = logging.getLogger(__name__)
Work = Callable[[Build], dict[str, Any]]


def dbt_staging(
    connection: psycopg.Connection, settings: Settings, *, run_id: str, session: DbtSession | None = None
) -> dict[str, Any]:
    """Open the build over everything published so far, and build staging and silver in place.

    Waits while another run's build is alive, and does nothing where that one built all there is. A full refresh that
    the run holds (`open_full_refresh`) is done in any case.
    """
    ensure_bronze_tables(connection)
    wanted = newest_publication(connection)
    own = open_build_of(connection, run_id)
    is_full_refresh = own is not None and own.is_full_refresh
    unless_built = None if is_full_refresh or not wanted else wanted
    if unless_built and built_until(connection) >= wanted:
        return {"note": "everything that is published is built"}
    while (build := open_build(connection, run_id, unless_built=unless_built)) is None:
        if unless_built and built_until(connection) >= wanted:
            return dict(_BUILT_ELSEWHERE)
        _LOG.info("another run is building; waiting")
        time.sleep(_POLL_SECONDS)
    crash_point("build.before_dbt")
    return _do(
        connection, settings, build, "dbt_staging", lambda held: _dbt(connection, settings, held, _SILVER, session)
    )


def open_full_refresh(connection: psycopg.Connection, *, run_id: str) -> None:
    """Open a build that computes every model anew, for the run's four tasks to do; waits for another run's build."""
    while open_build(connection, run_id, is_full_refresh=True) is None:
        _LOG.info("another run is building; waiting")
        time.sleep(_POLL_SECONDS)


def dbt_marts(
    connection: psycopg.Connection, settings: Settings, *, run_id: str, session: DbtSession | None = None
) -> dict[str, Any]:
    """Build the marts in `gold_build`."""
    return _in_build(
        connection,
        settings,
        run_id,
        "dbt_marts",
        lambda held: _dbt(connection, settings, held, _MARTS, session),
        before=(dbt_staging,),
        session=session,
    )


def dbt_test(
    connection: psycopg.Connection, settings: Settings, *, run_id: str, session: DbtSession | None = None
) -> dict[str, Any]:
    """Run every data test; a failing one closes the build, so nothing is merged. Their page is written."""

    def test(build: Build) -> dict[str, Any]:
        try:
            return _dbt(connection, settings, build, _TESTS, session)
        finally:
            write_test_page(settings)

    return _in_build(
        connection,
        settings,
        run_id,
        "dbt_test",
        test,
        before=(dbt_staging, dbt_marts),
        session=session,
    )


def merge_gold(
    connection: psycopg.Connection, settings: Settings, *, run_id: str, session: DbtSession | None = None
) -> dict[str, Any]:
    """Merge the tested marts into `gold` and close the build, in one transaction; name marts that are built no more."""

    def merge(build: Build) -> dict[str, Any]:
        with connection.transaction(), connection.cursor() as cursor:
            removed = drop_removed_marts(cursor, _project_marts())
            merged = merge_marts(cursor)
            crash_point("build.in_merge")
            close_build(cursor, build.build_id, "merged")
        counted = {f"{mart}_{what}": count for mart, counts in merged.items() for what, count in counts.items()}
        return counted | ({"no_longer_built": removed} if removed else {})

    return _in_build(
        connection,
        settings,
        run_id,
        "merge_gold",
        merge,
        before=(dbt_staging, dbt_marts, dbt_test),
        session=session,
        ends=True,
    )


def row_rules() -> dict[str, list[str]]:
    """Return the predicates that each published row of a dataset satisfies, in Postgres' SQL, by dataset."""
    return {
        dataset.name: [
            render(rule.predicate, Dialect.POSTGRES)
            for rule in rules
            if rule.severity == "reject" and not {*rule.reads} & {*CONFORM_COLUMNS}
        ]
        for dataset, rules in ((OHLCV, OHLCV_RULES), (FUNDING_RATES, FUNDING_RULES))
    }


def write_docs(settings: Settings, *, session: DbtSession | None = None) -> str:
    """Write the dbt docs site as one HTML file below the home and return its path; nothing where it is current."""
    page = settings.home / "docs" / "dbt" / "index.html"
    newest = max(path.stat().st_mtime for path in PROJECT.rglob("*") if path.suffix in (".sql", ".yml", ".md"))
    if page.is_file() and page.stat().st_mtime > newest:
        return str(page)
    # In a folder of its own: another run's build may be writing its results into the other one right now.
    run_dbt(settings, ("docs", "generate", "--static"), folder="docs", session=session)
    page.parent.mkdir(parents=True, exist_ok=True)
    aside = page.with_suffix(".partial")
    aside.write_bytes((dbt_folder(settings) / "docs" / "static_index.html").read_bytes())
    aside.replace(page)
    return str(page)


def _project_marts() -> set[str]:
    return {path.stem for path in (PROJECT / "models" / "gold").rglob("*.sql")}


def _in_build(
    connection: psycopg.Connection,
    settings: Settings,
    run_id: str,
    step: str,
    work: Work,
    *,
    before: tuple[Callable[..., dict[str, Any]], ...],
    session: DbtSession | None,
    ends: bool = False,
) -> dict[str, Any]:
    build = open_build_of(connection, run_id)
    if build is None:
        if (note := _built_note(connection, run_id)) is not None:
            return dict(note)
        _LOG.info("the run's build was closed or taken over; building again from its start")
        for task in before:
            task(connection, settings, run_id=run_id, session=session)
        build = open_build_of(connection, run_id)
        if build is None:
            return dict(_BUILT_ELSEWHERE)
    return _do(connection, settings, build, step, work, ends=ends)


def _built_note(connection: psycopg.Connection, run_id: str) -> dict[str, str] | None:
    """Wait while another run builds; return who built the run's publications, or None where nobody did."""
    own = newest_build_of(connection, run_id)
    if own is not None and own.state == "merged":
        return _BUILT_BY_ITSELF
    wanted = newest_publication(connection) if own is None else own.pinned_publication_id
    while built_until(connection) < wanted:
        other = open_build_of(connection)
        if other is None or not _beats(connection, other):
            return None
        time.sleep(_POLL_SECONDS)
    return _BUILT_ELSEWHERE


def _beats(connection: psycopg.Connection, build: Build) -> bool:
    row = connection.execute(
        "select heartbeat_at > clock_timestamp() - make_interval(secs => %s) from ops.builds where build_id = %s",
        [DEAD_AFTER_SECONDS, build.build_id],
    ).fetchone()
    return bool(row and row[0])


def _do(
    connection: psycopg.Connection, settings: Settings, build: Build, step: str, work: Work, *, ends: bool = False
) -> dict[str, Any]:
    """Do a task's work while its build beats; a failure closes the build."""
    try:
        with beating(settings, build.build_id, step, closes=ends):
            return work(build)
    except Exception:
        # A database that is gone closes nothing: the build then ends for want of beats.
        with suppress(BuildLostError, psycopg.Error):
            close_build(connection, build.build_id, "failed")
        raise


def _dbt(
    connection: psycopg.Connection,
    settings: Settings,
    build: Build,
    command: tuple[str, ...],
    session: DbtSession | None,
) -> dict[str, Any]:
    window = run_named(connection, build.run_id).window
    variables: dict[str, Any] = {
        "pinned_publication_id": build.pinned_publication_id,
        "window_start": format_instant(window.start) if window else "",
        "window_end": format_instant(window.end) if window else "",
        "row_rules": row_rules(),
    }
    if build.is_full_refresh and command[0] == "run":
        # What was parsed for other builds holds how those treat a changed column.
        command = (*command, "--full-refresh", "--no-partial-parse")
    return _summary(run_dbt(settings, command, variables=variables, session=session))


def _summary(result: DbtResult) -> dict[str, Any]:
    warned = sorted(name for name, status in result.statuses.items() if status == "warn")
    slowest = max(result.seconds, key=lambda name: result.seconds[name], default="")
    return {
        "nodes": len(result.statuses),
        "warned": warned,
        "slowest": slowest,
        "slowest_seconds": round(result.seconds.get(slowest, 0.0), 3),
    }
