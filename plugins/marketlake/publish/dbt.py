"""The four tasks of a build: staging and silver, marts, tests, merge; one build at a time, pinned and alive (rule 9).

Each task first makes sure that its run still holds the build. One whose build was closed or taken over waits until its
publications are built, and builds them itself if nobody does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg

from marketlake.crash import crash_point
from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.errors import MarketlakeError
from marketlake.instants import format_instant
from marketlake.ledger import (
    Build,
    beating,
    built_until,
    close_build,
    newest_build_of,
    newest_publication,
    open_build,
    open_build_of,
    run_named,
)
from marketlake.publish.bronze_tables import ensure_bronze_tables
from marketlake.publish.dbt_process import PROJECT, DbtResult, dbt_folder, run_dbt
from marketlake.publish.gold import merge_marts
from marketlake.rules import CONFORM_COLUMNS, FUNDING_RULES, OHLCV_RULES, Dialect, render
from marketlake.settings import Settings

_SILVER = ("run", "--selector", "silver")
_MARTS = ("run", "--selector", "marts")
_TESTS = ("test", "--selector", "data_tests")
_POLL_SECONDS = 2.0
_BUILT_ELSEWHERE = {"note": "another run has built these publications"}
_LOG = logging.getLogger(__name__)
Work = Callable[[Build], dict[str, Any]]


def dbt_staging(connection: psycopg.Connection, settings: Settings, *, run_id: str) -> dict[str, Any]:
    """Open the build over everything published so far, and build staging and silver in place.

    Waits while another run's build is alive, and does nothing where that one built all there is.
    """
    ensure_bronze_tables(connection)
    wanted = newest_publication(connection)
    if wanted and built_until(connection) >= wanted:
        return {"note": "everything that is published is built"}
    while (build := open_build(connection, run_id)) is None:
        _LOG.info("another run is building; waiting")
        time.sleep(_POLL_SECONDS)
        if built_until(connection) >= wanted:
            return dict(_BUILT_ELSEWHERE)
    return _do(connection, settings, build, "dbt_staging", lambda held: _dbt(connection, settings, held, _SILVER))


def dbt_marts(connection: psycopg.Connection, settings: Settings, *, run_id: str) -> dict[str, Any]:
    """Build the marts in `gold_build`."""
    return _in_build(
        connection,
        settings,
        run_id,
        "dbt_marts",
        lambda held: _dbt(connection, settings, held, _MARTS),
        before=(dbt_staging,),
    )


def dbt_test(connection: psycopg.Connection, settings: Settings, *, run_id: str) -> dict[str, Any]:
    """Run every data test; a failing one closes the build, so nothing is merged."""
    return _in_build(
        connection,
        settings,
        run_id,
        "dbt_test",
        lambda held: _dbt(connection, settings, held, _TESTS),
        before=(dbt_staging, dbt_marts),
    )


def merge_gold(connection: psycopg.Connection, settings: Settings, *, run_id: str) -> dict[str, Any]:
    """Merge the tested marts into `gold` and close the build, in one transaction."""

    def merge(build: Build) -> dict[str, Any]:
        crash_point("build.before_merge")
        with connection.transaction(), connection.cursor() as cursor:
            merged = merge_marts(cursor)
            close_build(cursor, build.build_id, "merged")
        return {f"{mart}_{what}": count for mart, counts in merged.items() for what, count in counts.items()}

    return _in_build(
        connection, settings, run_id, "merge_gold", merge, before=(dbt_staging, dbt_marts, dbt_test), ends=True
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


def write_docs(settings: Settings) -> str:
    """Write the dbt docs site as one HTML file below the home and return its path; nothing where it is current."""
    page = settings.home / "docs" / "dbt" / "index.html"
    newest = max(path.stat().st_mtime for path in PROJECT.rglob("*") if path.suffix in (".sql", ".yml", ".md"))
    if page.is_file() and page.stat().st_mtime > newest:
        return str(page)
    # In a folder of its own: another run's build may be writing its results into the other one right now.
    run_dbt(settings, ("docs", "generate", "--static"), folder="docs")
    page.parent.mkdir(parents=True, exist_ok=True)
    aside = page.with_suffix(".partial")
    aside.write_bytes((dbt_folder(settings) / "docs" / "static_index.html").read_bytes())
    aside.replace(page)
    return str(page)


def _in_build(
    connection: psycopg.Connection,
    settings: Settings,
    run_id: str,
    step: str,
    work: Work,
    *,
    before: tuple[Callable[..., dict[str, Any]], ...],
    ends: bool = False,
) -> dict[str, Any]:
    build = open_build_of(connection, run_id)
    if build is None:
        if _is_built_elsewhere(connection, run_id):
            return dict(_BUILT_ELSEWHERE)
        _LOG.info("the run's build was closed or taken over; building again from its start")
        for task in before:
            task(connection, settings, run_id=run_id)
        build = open_build_of(connection, run_id)
        if build is None:
            return dict(_BUILT_ELSEWHERE)
    return _do(connection, settings, build, step, work, ends=ends)


def _is_built_elsewhere(connection: psycopg.Connection, run_id: str) -> bool:
    """Wait while another run builds; return whether the run's publications are in gold then."""
    own = newest_build_of(connection, run_id)
    wanted = newest_publication(connection) if own is None else own.pinned_publication_id
    while True:
        if built_until(connection) >= wanted and (own is None or own.state != "failed"):
            return True
        other = open_build_of(connection)
        if other is None or not _beats(connection, other):
            return False
        time.sleep(_POLL_SECONDS)


def _beats(connection: psycopg.Connection, build: Build) -> bool:
    row = connection.execute(
        "select heartbeat_at > clock_timestamp() - interval '60 seconds' from ops.builds where build_id = %s",
        [build.build_id],
    ).fetchone()
    return bool(row and row[0])


def _do(
    connection: psycopg.Connection, settings: Settings, build: Build, step: str, work: Work, *, ends: bool = False
) -> dict[str, Any]:
    """Do a task's work while its build beats; a failure closes the build."""
    try:
        with beating(settings, build.build_id, step, closes=ends):
            return work(build)
    except MarketlakeError:
        if (held := open_build_of(connection, build.run_id)) is not None:
            close_build(connection, held.build_id, "failed")
        raise


def _dbt(connection: psycopg.Connection, settings: Settings, build: Build, command: tuple[str, ...]) -> dict[str, Any]:
    window = run_named(connection, build.run_id).window
    variables: dict[str, Any] = {
        "pinned_publication_id": build.pinned_publication_id,
        "window_start": format_instant(window.start) if window else "",
        "window_end": format_instant(window.end) if window else "",
        "row_rules": row_rules(),
    }
    return _summary(run_dbt(settings, command, variables=variables))


def _summary(result: DbtResult) -> dict[str, Any]:
    warned = sorted(name for name, status in result.statuses.items() if status == "warn")
    slowest = max(result.seconds, key=lambda name: result.seconds[name], default="")
    return {
        "nodes": len(result.statuses),
        "warned": warned,
        "slowest": slowest,
        "slowest_seconds": round(result.seconds.get(slowest, 0.0), 3),
    }
