"""Landed files that were damaged after their sealing: what of them a run lost, and what it fetched again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from marketlake.ledger import refused_answers
from marketlake.pipeline.call import StepCall

# Damage of the run's own manifests, damage inside its window found while it ran, damage whose windows it fetched again.
_QUERY = """
with mine as (select * from ops.manifests where manifest_id = any(%(mine)s)),
answers as (
    select manifests.*, answer ->> 'symbol' as symbol, answer ->> 'timeframe' as timeframe,
        (answer ->> 'start')::timestamptz as range_start, (answer ->> 'end')::timestamptz as range_end
    from ops.manifests cross join lateral jsonb_array_elements(answers) as answer
    where answer ->> 'status' = 'answered'
),
again as (
    select distinct damaged.manifest_id from answers as damaged inner join answers as newer
    on newer.manifest_id in (select manifest_id from mine) and newer.manifest_id <> damaged.manifest_id
    and newer.state <> 'damaged' and (newer.dataset, newer.exchange, newer.symbol, newer.timeframe)
    = (damaged.dataset, damaged.exchange, damaged.symbol, damaged.timeframe)
    and newer.range_start < damaged.range_end and newer.range_end > damaged.range_start
    and newer.sealed_at > damaged.sealed_at
    where damaged.state = 'damaged'
)
select manifest_id, run_id, exchange, dataset, coalesce(error, 'no reason recorded') as why,
    manifest_id in (select manifest_id from again) as is_fetched_again
from ops.manifests where state = 'damaged' and (
    manifest_id in (select manifest_id from mine) or manifest_id in (select manifest_id from again)
    or exists (select 1 from ops.runs where runs.run_id = %(run)s and manifests.judged_at >= runs.created_at
        and (runs.window_start is null or exists (select 1 from answers
            where answers.manifest_id = manifests.manifest_id
            and answers.range_start < runs.window_end and answers.range_end > runs.window_start)))
) order by sealed_at, manifest_id
"""


@dataclass(frozen=True)
class Damage:
    """One manifest whose landed files are not what was sealed; `run_id` is the run that fetched them.

    `is_fetched_again`: this run fetched its windows anew. `is_open`: no load has brought all of them since.
    """

    manifest_id: str
    run_id: str
    exchange: str
    dataset: str
    why: str
    is_fetched_again: bool
    is_open: bool = True

    @property
    def sentence(self) -> str:
        """What happened, and what comes of it."""
        again = "its windows were fetched again" if self.is_fetched_again else "the next run fetches its windows again"
        what = f"{self.exchange} {self.dataset}: what the run {self.run_id} landed is damaged and was not loaded"
        return f"{what}: {self.why}; {again}"


def damages(call: StepCall) -> list[Damage]:
    """Return the damaged manifests of the run, those found inside its window, and those that it fetched again."""
    with call.connection.cursor(row_factory=class_row(Damage)) as cursor:
        parameters = {"mine": call.manifest_ids(), "run": call.run.run_id}
        found: list[Damage] = cursor.execute(_QUERY, parameters).fetchall()
    open_ids = _open(call.connection, [damage.manifest_id for damage in found])
    return [Damage(**{**vars(damage), "is_open": damage.manifest_id in open_ids}) for damage in found]


def damage_document(damage: Damage) -> dict[str, Any]:
    """Return what a run's summary says of it."""
    return {**vars(damage), "text": damage.sentence}


def _open(connection: psycopg.Connection, manifest_ids: list[str]) -> set[str]:
    if not manifest_ids:
        return set()
    return {answer.manifest_id for answer in refused_answers(connection, manifest_ids)}
