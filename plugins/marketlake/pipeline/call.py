"""One call of a step: which run, with which settings, on which connection, for which exchange and dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg

from marketlake.ledger.runs import Run
from marketlake.pipeline.request import BY_HAND, RunRequest
from marketlake.settings import Settings

# What every step is: a call in, its result as plain data out; `skipped` in the result says why nothing was to do.
Step = Callable[["StepCall"], dict[str, Any]]


@dataclass(frozen=True)
class StepCall:
    """A step's arguments; exchange and dataset are named for `ingest` only."""

    settings: Settings
    connection: psycopg.Connection
    run: Run
    exchange: str | None = None
    dataset: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

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
