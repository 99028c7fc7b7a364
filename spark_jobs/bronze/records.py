"""What a load tells the ledger of its audit: the record that it begins with, verdicts by market, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from marketlake import ledger
from marketlake.ledger import LoadRecord, MarketVerdict
from spark_jobs.audit import Judgement
from spark_jobs.audit.verdicts import MarketCounts
from spark_jobs.bronze.context import LoadContext, LoadTask


def audited_load(
    context: LoadContext, task: LoadTask, counts: Sequence[MarketCounts], judgement: Judgement, *, path: str
) -> LoadRecord:
    """Return the record of a judged load; `path` says how its rows came, `bulk` or `plain`."""
    received = sum(market.received for market in counts)
    dropped = {
        "outside_window": sum(market.outside for market in counts),
        "still_open": sum(market.still_open for market in counts),
    }
    return LoadRecord(
        load_id=task.load_id,
        table=context.dataset.table,
        dataset=context.dataset.name,
        exchange=task.manifest.exchange,
        manifest_id=task.manifest_id,
        run_id=task.manifest.run_id,
        kind=task.kind,
        files_id=task.files_id,
        typed_rows=received,
        collapsed_rows=sum(market.collapsed for market in counts),
        rejected_rows=sum(market.rejected for market in counts),
        flagged_rows=sum(market.flagged for market in counts),
        details={
            **dropped,
            "path": path,
            "data_docs": judgement.docs,
            "rule_version": context.rules.version,
            "failed_expectations": list(judgement.warnings),
        },
    )


def verdicts(task: LoadTask, counts: Sequence[MarketCounts], refused: Sequence[str]) -> list[MarketVerdict]:
    """Return the verdict on each market."""
    return [
        MarketVerdict(
            task.manifest.exchange,
            market.symbol,
            market.received,
            market.rejected,
            is_refused=market.symbol in refused,
            reasons=market.reasons,
        )
        for market in counts
    ]


def refuse_manifest(context: LoadContext, task: LoadTask, record: LoadRecord, why: str) -> LoadRecord:
    """Record that nothing of a manifest is committed, and return the record that says so."""
    facts = [
        fact
        for answer in task.manifest.answers
        for fact in ledger.facts_of_refusal(
            answer, exchange=task.manifest.exchange, dataset=context.dataset, now=task.manifest.now
        )
    ]
    ledger.record_failure(context.connection, task.manifest_id, why, state="refused", facts=facts, kept_in=context.area)
    log_refusal(context, task, sorted({answer.market.symbol for answer in task.manifest.answers}), why)
    return replace(record, manifest_state="refused", error=why)


def log_refusal(context: LoadContext, task: LoadTask, symbols: Sequence[str], why: str) -> None:
    """Put the refused markets into the quality log."""
    for symbol in symbols:
        ledger.log_quality_event(
            context.connection,
            "validation_failed",
            exchange=task.manifest.exchange,
            symbol=symbol,
            details={"load_id": task.load_id, "why": why},
        )
