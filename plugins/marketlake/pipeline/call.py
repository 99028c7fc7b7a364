"""One call of a step: which run, with which settings, on which connection, for which exchange and dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg

from marketlake.ledger.loads import LoadRow, loads_of_manifests
from marketlake.ledger.manifests import manifests_of
from marketlake.ledger.refused import judged_again_by
from marketlake.ledger.runs import Run
from marketlake.pipeline.request import BY_HAND, RunRequest
from marketlake.publish.dbt_session import DbtSession
from marketlake.settings import Settings

# What every step is: a call in, its result as plain data out; `skipped` in the result says why nothing was to do.
Step = Callable[["StepCall"], dict[str, Any]]


@dataclass(frozen=True)
class StepCall:
    """A step's arguments; exchange and dataset are named for `ingest` only.

    Steps that call dbt do it in the session `dbt` where there is one, else each in a process of its own.
    """

    settings: Settings
    connection: psycopg.Connection
    run: Run
    exchange: str | None = None
    dataset: str | None = None
    dbt: DbtSession | None = None

    @cached_property
    def request(self) -> RunRequest:
        """What the run was asked to do."""
        return RunRequest.from_json(self.run.request)

    @property
    def is_by_hand(self) -> bool:
        """Whether a person started the run on the command line."""
        return self.run.kind == BY_HAND

    @cached_property
    def run_ids(self) -> list[str]:
        """The run and the runs that are parts of it."""
        rows = self.connection.execute(
            "select run_id from ops.runs where request ->> 'parent' = %s order by run_id", [self.run.run_id]
        ).fetchall()
        return [self.run.run_id, *(str(run_id) for (run_id,) in rows)]

    def manifest_ids(self) -> list[str]:
        """The manifests that the run and its parts sealed, and those that they had judged again."""
        again = judged_again_by(self.connection, self.run_ids)
        sealed = [row.manifest_id for run_id in self.run_ids for row in manifests_of(self.connection, run_id)]
        return sorted({*sealed, *again})

    def loads(self) -> list[LoadRow]:
        """The loads of those manifests, with their steps, in order."""
        return loads_of_manifests(self.connection, self.manifest_ids())

    def load_ids(self) -> list[str]:
        """The ids of those loads."""
        return sorted({load.load_id for load in self.loads()})
