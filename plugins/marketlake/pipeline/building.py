"""The steps from bronze to gold: publish to Postgres, build with dbt, test, merge."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from marketlake.errors import MarketlakeError
from marketlake.ledger import Run, create_run, finish_run, newest_runs
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.opening import known_run, new_run_id
from marketlake.pipeline.request import BY_HAND, RunRequest
from marketlake.publish.dbt_session import DbtSession
from marketlake.settings import Settings

_LOG = logging.getLogger(__name__)


def publish_changes(call: StepCall) -> dict[str, Any]:
    """Copy the current rows of all changed ranges to Postgres; nothing where nothing changed."""
    from marketlake.ledger import changes_unpublished

    if not changes_unpublished(call.connection):
        return {"ranges": 0, "rows_written": 0, "rows_deleted": 0}
    from marketlake.publish.step import publish_changes as publish

    return dict(publish(call.connection, call.settings, run_id=call.run.run_id))


def dbt_staging(call: StepCall) -> dict[str, Any]:
    """Open the build over what is published, and build staging and silver."""
    from marketlake.publish.dbt import dbt_staging as run

    return dict(run(call.connection, call.settings, run_id=call.run.run_id, session=call.dbt))


def dbt_marts(call: StepCall) -> dict[str, Any]:
    """Build the marts in `gold_build`."""
    from marketlake.publish.dbt import dbt_marts as run

    return dict(run(call.connection, call.settings, run_id=call.run.run_id, session=call.dbt))


def dbt_test(call: StepCall) -> dict[str, Any]:
    """Test silver and the built marts."""
    from marketlake.publish.dbt import dbt_test as run

    return dict(run(call.connection, call.settings, run_id=call.run.run_id, session=call.dbt))


def merge_gold(call: StepCall) -> dict[str, Any]:
    """Merge changed rows into `gold` in one transaction, close the build, and bring the docs site up to date."""
    from marketlake.publish.dbt import merge_gold as run
    from marketlake.publish.dbt import write_docs

    merged = dict(run(call.connection, call.settings, run_id=call.run.run_id, session=call.dbt))
    try:
        with _one_writes_docs(call.settings):
            merged["docs"] = write_docs(call.settings, session=call.dbt)
    except MarketlakeError as error:  # gold is merged: a page that could not be written is no reason for a red run
        _LOG.warning("the dbt docs site was not written: %s", error)
    return merged


@contextmanager
def _one_writes_docs(settings: Settings) -> Iterator[None]:
    """Let one process of this home write the docs site at a time: those that wait find it current."""
    path = settings.home / "dbt" / "docs.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def get_dbt_ready(call: StepCall) -> None:
    """Start the session's dbt beside other work; what stops it from starting is raised by the step that needs it."""
    if call.dbt is not None:
        with suppress(MarketlakeError):
            call.dbt.start()


BUILD_STEPS = ("dbt_staging", "dbt_marts", "dbt_test", "merge_gold")


def has_something_to_build(call: StepCall) -> bool:
    """Return whether a publication is not built yet."""
    from marketlake.ledger import built_until, newest_publication

    return newest_publication(call.connection) > built_until(call.connection)


def build(
    settings: Settings, connection: psycopg.Connection, *, run_id: str | None = None, is_full_refresh: bool = False
) -> dict[str, Any]:
    """Publish what is not published and build silver and gold, in a run of their own; nothing where all is built.

    A run that is named is gone on with. A full refresh computes every model anew over all that is published, also where
    a model's columns changed.
    """
    from marketlake.pipeline.steps import call_step

    run_id = run_id or new_run_id()
    run = known_run(connection, run_id) or create_run(connection, _run(connection, run_id))
    try:
        with DbtSession(settings) as dbt:
            call = StepCall(settings, connection, run, dbt=dbt)
            results = {"publish_changes": call_step("publish_changes", call)}
            if is_full_refresh:
                from marketlake.publish.dbt import open_full_refresh

                open_full_refresh(connection, run_id=run_id)
            if is_full_refresh or has_something_to_build(call):
                results |= {step: call_step(step, call) for step in BUILD_STEPS}
    except BaseException:
        with suppress(psycopg.Error):  # a database that went away is what was raised
            finish_run(connection, run_id, "failed")
        raise
    finish_run(connection, run_id, "succeeded")
    return {"run_id": run_id, "is_built": "merge_gold" in results, "results": results}


def _run(connection: psycopg.Connection, run_id: str) -> Run:
    newest = newest_runs(connection, limit=1)
    offset = newest[0].clock_offset if newest else timedelta(0)
    return Run(run_id, BY_HAND, None, "incremental", RunRequest().to_json(), datetime.now(UTC) + offset, offset)
