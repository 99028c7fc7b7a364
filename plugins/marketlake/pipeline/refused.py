"""What the audit refused: what of it a run lets judge again, and what stays refused."""

from __future__ import annotations

from collections.abc import Sequence

from marketlake.instants import Window
from marketlake.ledger import (
    MarketVerdict,
    RefusedAnswer,
    high_watermark,
    judge_again_in,
    manifests_refused,
    refused_answers,
    verdicts_of,
)
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.fetching import chosen_series


def judge_again(call: StepCall) -> int:
    """Let refused manifests wait again, and remember them with the run; return how many.

    They are the run's own, and by hand those that hold a refused answer for what the run is about. What a later load
    has replaced is left alone: nothing is to be won from it.
    """
    own = {row.manifest_id for run_id in call.run_ids for row in manifests_refused(call.connection, run_id=run_id)}
    others = {answer.manifest_id for answer in _wanted_by_hand(call)} if call.is_by_hand else set[str]()
    return judge_again_in(call.connection, call.run.run_id, sorted(own | others))


def refusals(call: StepCall) -> list[str]:
    """Return a sentence per refused market, and per manifest that was refused or failed, of the run.

    Also of those that it had judged again, whoever fetched them; not of what a later load has replaced.
    """
    manifest_ids = call.manifest_ids()
    left = sorted({answer.manifest_id for answer in refused_answers(call.connection, manifest_ids)})
    rows = call.connection.execute(
        "select exchange, dataset, state, error, load_id from ops.manifests where manifest_id = any(%s)"
        " and state <> 'damaged'"
        " order by sealed_at, manifest_id",
        [left],
    ).fetchall()
    sentences = []
    for exchange, dataset, state, error, load_id in rows:
        verdicts = [] if load_id is None else verdicts_of(call.connection, load_id)
        markets = [verdict for verdict in verdicts if verdict.is_refused]
        sentences += [_refused_market(dataset, verdict) for verdict in markets]
        if not markets:
            sentences.append(f"{exchange} {dataset}: the manifest is {state}: {error or 'no reason recorded'}")
    return sentences


def _wanted_by_hand(call: StepCall) -> Sequence[RefusedAnswer]:
    """Return the refused answers for the run's series inside its window, else from their high watermarks on."""
    found = refused_answers(call.connection, overlapping=call.run.window)
    # What is damaged cannot be judged: its range is fetched again.
    answers = [answer for answer in found if answer.state != "damaged"]
    if not answers:
        return []
    asked = {series.market for series in chosen_series(call).series}
    return [answer for answer in answers if answer.market in asked and _is_ahead(call, answer)]


def _is_ahead(call: StepCall, answer: RefusedAnswer) -> bool:
    if call.run.window is not None:
        return True
    reached = high_watermark(call.connection, *answer.market)
    return reached is None or answer.window.overlap(Window(reached, call.run.now)) is not None


def _refused_market(dataset: str, verdict: MarketVerdict) -> str:
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in verdict.reasons.items())
    return (
        f"{verdict.exchange} {verdict.symbol} {dataset} was refused: {verdict.rejected_rows:,} of"
        f" {verdict.received_rows:,} rows rejected: {reasons}"
    )
