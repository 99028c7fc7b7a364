"""What landed and was not taken: the refused answers of manifests, and which of them later ones have replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from marketlake.instants import Window
from marketlake.ledger.manifests import wait_again


@dataclass(frozen=True)
class RefusedAnswer:
    """One answer of a manifest that was refused, failed or is damaged, and whose rows bronze therefore lacks."""

    manifest_id: str
    state: str
    sealed_at: datetime
    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    start: datetime
    end: datetime

    @property
    def market(self) -> tuple[str, str, str, str]:
        """Dataset, exchange, symbol and timeframe, as the ledger names a series."""
        return self.dataset, self.exchange, self.symbol, self.timeframe

    @property
    def window(self) -> Window:
        """The range that was asked for."""
        return Window(self.start, self.end)


def refused_answers(
    connection: psycopg.Connection, manifest_ids: Sequence[str] | None = None, *, overlapping: Window | None = None
) -> list[RefusedAnswer]:
    """Return the refused answers that no later load has replaced, of these manifests or of all, oldest first.

    Where some markets of a manifest were refused, only theirs; where all of it was, all. A later load replaces an
    answer when its manifest was sealed later and holds answers for the whole range, as after `--mode force`.
    """
    with connection.cursor(row_factory=class_row(RefusedAnswer)) as cursor:
        found = cursor.execute(
            "select manifest_id, state, sealed_at, dataset, exchange, answer ->> 'symbol' as symbol,"
            " answer ->> 'timeframe' as timeframe, (answer ->> 'start')::timestamptz as start,"
            " (answer ->> 'end')::timestamptz as end"
            " from ops.manifests cross join lateral jsonb_array_elements(answers) as answer"
            " where state in ('refused', 'failed', 'damaged') and answer ->> 'status' = 'answered'"
            " and (%(ids)s::text[] is null or manifest_id = any(%(ids)s))"
            " and (%(start)s::timestamptz is null or ((answer ->> 'start')::timestamptz < %(end)s"
            " and (answer ->> 'end')::timestamptz > %(start)s))"
            " and (state <> 'refused' or not exists (select 1 from ops.market_verdicts as verdicts"
            " where verdicts.load_id = manifests.load_id and verdicts.is_refused)"
            " or exists (select 1 from ops.market_verdicts as verdicts where verdicts.load_id = manifests.load_id"
            " and verdicts.is_refused and verdicts.symbol = answer ->> 'symbol'))"
            " order by sealed_at, manifest_id, symbol, timeframe, start",
            {
                "ids": None if manifest_ids is None else list(manifest_ids),
                "start": overlapping.start if overlapping else None,
                "end": overlapping.end if overlapping else None,
            },
        ).fetchall()
    return [answer for answer in found if answer.window.minus(_loaded_later(connection, answer))]


def judge_again_in(connection: psycopg.Connection, run_id: str, manifest_ids: Sequence[str]) -> int:
    """Let refused and failed manifests be judged again, remembered with the run that asks; return how many there were.

    Their loads count for this run too, though another one fetched them.
    """
    if not manifest_ids:
        return 0
    with connection.transaction():
        count = wait_again(connection, manifest_ids)
        connection.execute(
            "update ops.runs set request = request || jsonb_build_object('judged_again',"
            " coalesce(request -> 'judged_again', '[]') || %s) where run_id = %s",
            [Jsonb(list(manifest_ids)), run_id],
        )
    return count


def judged_again_by(connection: psycopg.Connection, run_ids: Sequence[str]) -> list[str]:
    """Return the manifests that the runs had judged again."""
    rows = connection.execute(
        "select distinct jsonb_array_elements_text(request -> 'judged_again') as manifest_id from ops.runs"
        " where run_id = any(%s) order by manifest_id",
        [list(run_ids)],
    ).fetchall()
    return [str(manifest_id) for (manifest_id,) in rows]


def _loaded_later(connection: psycopg.Connection, answer: RefusedAnswer) -> list[Window]:
    rows = connection.execute(
        "select (answer ->> 'start')::timestamptz, (answer ->> 'end')::timestamptz"
        " from ops.manifests cross join lateral jsonb_array_elements(answers) as answer"
        " where state = 'loaded' and dataset = %s and exchange = %s and sealed_at > %s"
        " and answer ->> 'symbol' = %s and answer ->> 'timeframe' = %s and answer ->> 'status' = 'answered'",
        [answer.dataset, answer.exchange, answer.sealed_at, answer.symbol, answer.timeframe],
    ).fetchall()
    return sorted(Window(start, end) for start, end in rows)
