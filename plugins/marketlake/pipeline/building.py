"""The steps from bronze to gold: publish to Postgres, build with dbt, test, merge."""

from __future__ import annotations

from typing import Any

from marketlake.pipeline.call import StepCall


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

    return dict(run(call.connection, call.settings, run_id=call.run.run_id))


def dbt_marts(call: StepCall) -> dict[str, Any]:
    """Build the marts in `gold_build`."""
    from marketlake.publish.dbt import dbt_marts as run

    return dict(run(call.connection, call.settings, run_id=call.run.run_id))


def dbt_test(call: StepCall) -> dict[str, Any]:
    """Test silver and the built marts."""
    from marketlake.publish.dbt import dbt_test as run

    return dict(run(call.connection, call.settings, run_id=call.run.run_id))


def merge_gold(call: StepCall) -> dict[str, Any]:
    """Merge changed rows into `gold` in one transaction, and close the build."""
    from marketlake.publish.dbt import merge_gold as run

    return dict(run(call.connection, call.settings, run_id=call.run.run_id))


BUILD_STEPS = ("dbt_staging", "dbt_marts", "dbt_test", "merge_gold")


def has_something_to_build(call: StepCall) -> bool:
    """Return whether a publication is not built yet."""
    from marketlake.ledger import built_until, newest_publication

    return newest_publication(call.connection) > built_until(call.connection)
