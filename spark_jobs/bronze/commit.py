"""Commit one judged manifest: dead letters, bronze, ledger, in that order, under the table's lease.

A crash anywhere repeats the load: the transaction id keeps the repeat free of duplicates, and what the load itself
committed before is left out of every comparison, so that the repeat finds what the first pass found.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake import ledger
from marketlake.crash import crash_point
from marketlake.errors import DataError
from marketlake.instants import OffsetClock
from marketlake.ledger import LoadRecord, MarketVerdict
from marketlake.work import Answer
from spark_jobs.audit import Judgement
from spark_jobs.audit.verdicts import MarketCounts
from spark_jobs.bronze import dead_letters, findings, ranges
from spark_jobs.bronze.context import LoadContext, LoadTask, WaitingManifest, load_task
from spark_jobs.bronze.findings import Keys
from spark_jobs.bronze.id_edges import edge_gaps
from spark_jobs.bronze.id_gaps import id_gaps
from spark_jobs.bronze.landed_rows import KEPT
from spark_jobs.bronze.reference import existing_rows, late_agreements, market_hulls
from spark_jobs.bronze.reissues import Gone, gone_from_reissued
from spark_jobs.bronze.revisions import Revised, first_revisions, revise, stored_schema
from spark_jobs.lib.delta_tables import Commit, TableSpec, append_once, bronze_spec, ensure_table
from spark_jobs.lib.quality import split_by_rules


@dataclass(frozen=True)
class _Batch:
    """The rows of one manifest whose markets were not refused."""

    task: LoadTask
    accepted: DataFrame
    rejected: DataFrame
    answers: tuple[Answer, ...]
    counts: tuple[MarketCounts, ...]

    @property
    def rejected_rows(self) -> int:
        return sum(counts.rejected for counts in self.counts)

    @property
    def accepted_rows(self) -> int:
        return sum(counts.received - counts.rejected for counts in self.counts)


@dataclass(frozen=True)
class _Committed:
    """What came into bronze."""

    keys: Keys
    version: int | None = None
    appended_rows: int = 0
    retracted_rows: int = 0
    known_at: datetime | None = None
    disagreements: tuple[ledger.Disagreement, ...] = ()


def commit_manifest(
    context: LoadContext, waiting: WaitingManifest, judged: DataFrame, judgement: Judgement, *, manifest_no: int
) -> LoadRecord | None:
    """Commit what passed and return what was recorded; a manifest with a failed critical expectation commits nothing.

    `judged` are the conformed rows of all manifests of the session, with their reasons. None: another process judged
    the manifest meanwhile.
    """
    with ledger.table_lease(context.settings, context.dataset.table) as lease:
        task = load_task(context, waiting)
        if task is None:
            return None
        started = time.monotonic()
        counts = judgement.of(manifest_no)
        refused = judgement.refused_symbols(manifest_no)
        record = _record(context, task, counts, judgement)
        ledger.record_audit(context.connection, record, _verdicts(task, counts, refused), kept_in=context.area)
        crash_point("load.after_audit")
        if manifest_no in judgement.critical:
            return _refuse_manifest(context, task, record, judgement.critical[manifest_no])
        mine = judged.where((F.col("manifest_no") == manifest_no) & (F.col("fate") == KEPT))
        batch = _batch(task, mine.where(~F.col("symbol").isin(refused)), counts, refused, context)
        done = _commit_batch(context, batch, record, lease, refused)
        reasons = [why for (number, _), why in judgement.refused.items() if number == manifest_no]
        if reasons:
            done = replace(done, manifest_state="refused", error="\n".join(reasons))
            _log_refusal(context, task, refused, "\n".join(reasons))
        done = replace(done, seconds=time.monotonic() - started)
        if not ledger.record_load(context.connection, done, kept_in=context.area):
            raise DataError(f"load {task.load_id} of {task.name} was recorded by another process that held the lease")
    return done


def _commit_batch(
    context: LoadContext, batch: _Batch, record: LoadRecord, lease: ledger.Lease, refused: Sequence[str]
) -> LoadRecord:
    clock = OffsetClock(timedelta(seconds=batch.task.manifest.clock_offset_seconds))
    known_at = ledger.next_known_at(context.connection, context.dataset.table, clock.now())
    lease.check()
    _commit_dead_letters(context, batch, record, known_at)
    crash_point("load.between_dlq_and_bronze")
    lease.check()
    committed = _commit_bronze(context, batch, record, known_at)
    crash_point("load.between_bronze_and_ledger")
    return _completed(context, batch, record, committed, refused, committed.known_at or known_at)


def _batch(
    task: LoadTask, rows: DataFrame, counts: Sequence[MarketCounts], refused: Sequence[str], context: LoadContext
) -> _Batch:
    accepted, rejected = split_by_rules(rows, context.rules)
    answers = tuple(answer for answer in task.manifest.answers if answer.market.symbol not in refused)
    return _Batch(task, accepted, rejected, answers, tuple(item for item in counts if item.symbol not in refused))


def _record(context: LoadContext, task: LoadTask, counts: Sequence[MarketCounts], judgement: Judgement) -> LoadRecord:
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
            "data_docs": judgement.docs,
            "rule_version": context.rules.version,
            "failed_expectations": list(judgement.warnings),
        },
    )


def _verdicts(task: LoadTask, counts: Sequence[MarketCounts], refused: Sequence[str]) -> list[MarketVerdict]:
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


def _refuse_manifest(context: LoadContext, task: LoadTask, record: LoadRecord, why: str) -> LoadRecord:
    facts = [
        fact
        for answer in task.manifest.answers
        for fact in ledger.facts_of_refusal(
            answer, exchange=task.manifest.exchange, dataset=context.dataset, now=task.manifest.now
        )
    ]
    ledger.record_failure(context.connection, task.manifest_id, why, state="refused", facts=facts, kept_in=context.area)
    _log_refusal(context, task, sorted({answer.market.symbol for answer in task.manifest.answers}), why)
    return replace(record, manifest_state="refused", error=why)


def _log_refusal(context: LoadContext, task: LoadTask, symbols: Sequence[str], why: str) -> None:
    for symbol in symbols:
        ledger.log_quality_event(
            context.connection,
            "validation_failed",
            exchange=task.manifest.exchange,
            symbol=symbol,
            details={"load_id": task.load_id, "why": why},
        )


def _commit_dead_letters(context: LoadContext, batch: _Batch, record: LoadRecord, known_at: datetime) -> None:
    if not batch.rejected_rows:
        return
    dataset, task = context.dataset, batch.task
    spec = dead_letters.dlq_spec(dataset)
    ensure_table(context.root, spec)
    letters = dead_letters.dead_letters(
        batch.rejected, dataset, rule_version=context.rules.version, load_id=task.load_id, seen_at=known_at
    )
    # The files first: they are the same at every repeat, and the table's id then says that both are there.
    target = dead_letters.DeadLetterFile(
        context.settings.dlq_folder, task.load_id, task.manifest.now, task.manifest.exchange
    )
    new = dead_letters.not_seen_before(
        context.spark, letters, dataset, root=context.root, exchange=task.manifest.exchange, load_id=task.load_id
    ).persist()
    try:
        if not new.isEmpty():
            dead_letters.write_files(new, target, has_timeframes=dataset.has_timeframes)
            _append(context, task, new, spec, record, known_at)
    finally:
        new.unpersist()


def _append(
    context: LoadContext, task: LoadTask, rows: DataFrame, spec: TableSpec, record: LoadRecord, known_at: datetime
) -> Commit:
    return append_once(
        rows,
        context.root,
        spec,
        load_id=task.load_id,
        run_id=task.manifest.run_id,
        typed_rows=record.typed_rows,
        known_at=known_at,
        manifest_id=task.manifest_id,
    )


def _commit_bronze(context: LoadContext, batch: _Batch, record: LoadRecord, known_at: datetime) -> _Committed:
    dataset, task = context.dataset, batch.task
    exchange, hulls = task.manifest.exchange, market_hulls(batch.answers)
    sources = sorted({answer.source for answer in batch.answers if answer.files})
    # Where no source gave a file there is nothing to compare, whatever the table holds.
    existing = existing_rows(context, exchange, hulls, load_id=task.load_id) if sources else None
    rejected = batch.rejected if batch.rejected_rows else None
    with ExitStack() as kept:
        revised = _revised(context, batch, existing, sources)
        kept.callback(revised.release)
        gone = gone_from_reissued(
            context, task, batch.answers, accepted=batch.accepted, rejected=rejected, existing=existing
        )
        kept.callback(gone.release)
        keys = _keys(context, batch, revised, gone)
        rows = revised.appended if gone.rows is None else revised.appended.unionByName(gone.rows)
        if not ranges.count(keys.changed) and not gone.count:
            return _Committed(keys)
        stamps = {"load_id": F.lit(task.load_id), "known_at": F.lit(known_at).cast("timestamp")}
        commit = _append(context, task, rows.withColumns(stamps), bronze_spec(dataset), record, known_at)
        found = findings.disagreements(revised.observed, context, task)
        return _Committed(keys, commit.version, commit.rows - gone.count, gone.count, commit.known_at, found)


def _keys(context: LoadContext, batch: _Batch, revised: Revised, gone: Gone) -> Keys:
    dataset, manifest = context.dataset, batch.task.manifest
    time = dataset.time_column
    rejected = ranges.times_by_answer(batch.rejected, time) if batch.rejected_rows else {}
    accepted = ranges.times_by_answer(batch.accepted, time) if batch.accepted_rows else {}
    rows = batch.accepted.unionByName(batch.rejected)
    edges = edge_gaps(context, batch.task, rows, batch.answers)
    missing = ranges.joined_groups(id_gaps(rows, dataset, manifest.answers), edges.missing)
    keys = Keys(accepted, rejected, accepted, retracted=gone.retracted, missing=missing, reopened=edges.beside)
    if not revised.kept:
        return keys
    changed = ranges.times_by_answer(revised.observed.where("is_changed"), time)
    withdrawn = ranges.times_by_answer(revised.observed.where("is_withdrawn"), time)
    return findings.with_withdrawn(replace(keys, changed=changed), withdrawn, manifest.answers)


def _revised(context: LoadContext, batch: _Batch, existing: DataFrame | None, sources: Sequence[str]) -> Revised:
    has_repeats = any(counts.has_repeats for counts in batch.counts)
    if existing is None and len(sources) <= 1 and not has_repeats:
        return first_revisions(batch.accepted, context.dataset)
    if existing is None:
        existing = context.spark.createDataFrame([], stored_schema(context.dataset))
    firsts = [counts.first_received_at for counts in batch.counts if counts.first_received_at]
    agreements = late_agreements(
        context, batch.task.manifest.exchange, batch.answers, first_received_at=min(firsts, default=None)
    )
    return revise(batch.accepted, existing, context.dataset, sources=sources, agreements=agreements)


def _completed(
    context: LoadContext,
    batch: _Batch,
    record: LoadRecord,
    committed: _Committed,
    refused: Sequence[str],
    known_at: datetime,
) -> LoadRecord:
    task, keys = batch.task, committed.keys
    agreed = sum(int(keys.agreed(number).size) for number in keys.accepted)
    return replace(
        record,
        appended_rows=committed.appended_rows,
        agreed_rows=agreed,
        retracted_rows=committed.retracted_rows,
        delta_version=committed.version,
        known_at=known_at,
        facts=findings.facts(context, task, keys, refused),
        agreements=findings.agreements(context, task, keys),
        disagreements=committed.disagreements,
        changes=findings.changes(context, task, keys, refused),
        archives=findings.archives(context, task, keys, refused, known_at=known_at),
    )
