"""Commit one judged manifest: dead letters, bronze, ledger, in that order, under the table's lease.

A crash anywhere repeats the load: the transaction id keeps the repeat free of duplicates, and what the load itself
committed before is left out of every comparison, so that the repeat finds what the first pass found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake import ledger
from marketlake.crash import crash_point
from marketlake.errors import DataError
from marketlake.instants import OffsetClock
from marketlake.lake.data_files import DataFile
from marketlake.lake.files import table_path
from marketlake.ledger import LoadRecord
from marketlake.work import Answer
from spark_jobs.audit import Judgement, judge
from spark_jobs.audit.verdicts import MarketCounts
from spark_jobs.bronze import dead_letters, findings, ranges
from spark_jobs.bronze.bulk import NotInBulkError, Staged, stage
from spark_jobs.bronze.bulk_files import ACCEPTED
from spark_jobs.bronze.context import LoadContext, LoadTask, WaitingManifest, load_task
from spark_jobs.bronze.findings import Keys
from spark_jobs.bronze.id_edges import edge_gaps
from spark_jobs.bronze.id_gaps import id_gaps
from spark_jobs.bronze.landed_rows import KEPT
from spark_jobs.bronze.records import audited_load, log_refusal, refuse_manifest, verdicts
from spark_jobs.bronze.reference import existing_rows, late_agreements, market_hulls
from spark_jobs.bronze.reissues import Gone, gone_from_reissued
from spark_jobs.bronze.revisions import FLAGS, Revised, first_revisions, revise, stored_schema
from spark_jobs.lib.append_few import append_few_once
from spark_jobs.lib.arrow import FEW_ROWS
from spark_jobs.lib.delta_tables import (
    Commit,
    LoadStamp,
    TableSpec,
    append_files_once,
    append_once,
    bronze_spec,
    committed_load,
    ensure_table,
)
from spark_jobs.lib.quality import split_by_rules
from spark_jobs.lib.session import tuned_for_few_rows

_log = logging.getLogger("marketlake.load")


@dataclass(frozen=True)
class _Judged:
    """The conformed rows of a session's manifests with the judgement on them, and which of the manifests is meant.

    `staged`: the rows lie in files that can be committed as they are.
    """

    rows: DataFrame
    judgement: Judgement
    manifest_no: int
    staged: Staged | None = None


@dataclass(frozen=True)
class _Batch:
    """The rows of one manifest whose markets were not refused."""

    task: LoadTask
    accepted: DataFrame
    rejected: DataFrame
    answers: tuple[Answer, ...]
    counts: tuple[MarketCounts, ...]
    staged: Staged | None = None
    files: tuple[DataFile, ...] = ()

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
        return _commit_judged(context, task, lease, _Judged(judged, judgement, manifest_no), time.monotonic())


def commit_in_bulk(context: LoadContext, waiting: WaitingManifest) -> LoadRecord | None:
    """Let the executors write the manifest's rows as files, judge what they wrote, commit it as it is.

    None: another process judged the manifest meanwhile.

    Raises:
        NotInBulkError: the plain path has to load it; nothing was committed.
    """
    with ledger.table_lease(context.settings, context.dataset.table) as lease:
        started = time.monotonic()
        task = load_task(context, waiting)
        if task is None:
            return None
        _check_nothing_is_known(context, task)
        staged = stage(context, task, known_at=_next_known_at(context, task))
        seconds = time.monotonic() - started
        _log.info("%s: executors wrote %d files in %.1f s", task.name, len(staged.files[ACCEPTED]), seconds)
        # Each of the audit's many queries would open all the files again.
        audited = staged.audited.persist()
        try:
            with tuned_for_few_rows(context.spark) if staged.is_light(context.dataset) else nullcontext():
                judgement = judge(
                    staged.judged,
                    context.dataset,
                    rules=context.rules,
                    settings=context.settings,
                    manifests=1,
                    name=f"{context.dataset.name}-{task.manifest_id[:8]}",
                    counted=(staged.counts, audited),
                )
                kept = [] if 0 in judgement.critical else staged.accepted_files(judgement.refused_symbols(0))
                done = _commit_judged(context, task, lease, _Judged(staged.judged, judgement, 0, staged), started)
        except Exception:
            # What died or failed after its commit is finished by the next load: its files are the table's.
            if not _is_committed(context, task):
                staged.remove()
            raise
        finally:
            audited.unpersist()
        staged.remove(kept)
        return done


def _is_committed(context: LoadContext, task: LoadTask) -> bool:
    return committed_load(table_path(context.root, context.dataset.table), task.load_id) is not None


def _check_nothing_is_known(context: LoadContext, task: LoadTask) -> None:
    """Raise where the rows have to be compared with others; the files' statistics tell, under the lease."""
    table, exchange = context.dataset.table, task.manifest.exchange
    if _is_committed(context, task):
        raise NotInBulkError("its rows are committed already")
    if existing_rows(context, exchange, market_hulls(task.manifest.answers), load_id=task.load_id) is not None:
        raise NotInBulkError(f"{table} may hold some of its keys")


def _next_known_at(context: LoadContext, task: LoadTask) -> datetime:
    clock = OffsetClock(timedelta(seconds=task.manifest.clock_offset_seconds))
    return ledger.next_known_at(context.connection, context.dataset.table, clock.now())


def _commit_judged(
    context: LoadContext, task: LoadTask, lease: ledger.Lease, judged: _Judged, started: float
) -> LoadRecord:
    judgement, manifest_no = judged.judgement, judged.manifest_no
    counts = judgement.of(manifest_no)
    refused = judgement.refused_symbols(manifest_no)
    record = audited_load(context, task, counts, judgement, path="plain" if judged.staged is None else "bulk")
    ledger.record_audit(context.connection, record, verdicts(task, counts, refused), kept_in=context.area)
    crash_point("load.after_audit")
    if manifest_no in judgement.critical:
        return refuse_manifest(context, task, record, judgement.critical[manifest_no])
    batch = _batch(task, judged, counts, refused, context)
    done = _commit_batch(context, batch, record, lease, refused)
    reasons = [why for (number, _), why in judgement.refused.items() if number == manifest_no]
    if reasons:
        done = replace(done, manifest_state="refused", error="\n".join(reasons))
        log_refusal(context, task, refused, "\n".join(reasons))
    done = replace(done, seconds=time.monotonic() - started)
    if not ledger.record_load(context.connection, done, kept_in=context.area):
        raise DataError(f"load {task.load_id} of {task.name} was recorded by another process that held the lease")
    return done


def _commit_batch(
    context: LoadContext, batch: _Batch, record: LoadRecord, lease: ledger.Lease, refused: Sequence[str]
) -> LoadRecord:
    known_at = batch.staged.known_at if batch.staged else _next_known_at(context, batch.task)
    lease.check()
    _commit_dead_letters(context, batch, record, known_at)
    crash_point("load.between_dlq_and_bronze")
    lease.check()
    commit = _commit_bronze if batch.staged is None else _commit_files
    committed = commit(context, batch, record, known_at)
    crash_point("load.between_bronze_and_ledger")
    return _completed(context, batch, record, committed, refused, committed.known_at or known_at)


def _batch(
    task: LoadTask, judged: _Judged, counts: Sequence[MarketCounts], refused: Sequence[str], context: LoadContext
) -> _Batch:
    mine = judged.rows.where((F.col("manifest_no") == judged.manifest_no) & (F.col("fate") == KEPT))
    accepted, rejected = split_by_rules(mine.where(~F.col("symbol").isin(refused)), context.rules)
    answers = tuple(answer for answer in task.manifest.answers if answer.market.symbol not in refused)
    kept = tuple(item for item in counts if item.symbol not in refused)
    files = tuple(judged.staged.accepted_files(refused)) if judged.staged else ()
    return _Batch(task, accepted, rejected, answers, kept, judged.staged, files)


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
            _append(new, context.root, spec, _stamp(task, record, known_at), most_rows=batch.rejected_rows)
    finally:
        new.unpersist()


def _append(rows: DataFrame, root: str, spec: TableSpec, stamp: LoadStamp, *, most_rows: int) -> Commit:
    append = append_few_once if most_rows <= FEW_ROWS else append_once
    return append(rows, root, spec, stamp)


def _stamp(task: LoadTask, record: LoadRecord, known_at: datetime) -> LoadStamp:
    return LoadStamp(task.load_id, task.manifest.run_id, record.typed_rows, known_at, task.manifest_id)


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
        keys, is_disputed = _keys(context, batch, revised, gone)
        rows = revised.appended if gone.rows is None else revised.appended.unionByName(gone.rows)
        if not ranges.count(keys.changed) and not gone.count:
            return _Committed(keys)
        stamps = {"load_id": F.lit(task.load_id), "known_at": F.lit(known_at).cast("timestamp")}
        # Few of the typed rows are followed by the value that was agreed again.
        most_rows, stamp = record.typed_rows + gone.count, _stamp(task, record, known_at)
        commit = _append(rows.withColumns(stamps), context.root, bronze_spec(dataset), stamp, most_rows=most_rows)
        found = findings.disagreements(revised.observed, context, task) if is_disputed else ()
        return _Committed(keys, commit.version, commit.rows - gone.count, gone.count, commit.known_at, found)


def _commit_files(context: LoadContext, batch: _Batch, record: LoadRecord, known_at: datetime) -> _Committed:
    """Commit the executors' files: all of their rows are first revisions, so all accepted keys have changed."""
    dataset = context.dataset
    keys, _ = _keys(context, batch, None, Gone())
    if not batch.files:
        return _Committed(keys)
    stamp = _stamp(batch.task, record, known_at)
    commit = append_files_once(batch.files, context.root, bronze_spec(dataset), stamp)
    return _Committed(keys, commit.version, commit.rows, known_at=commit.known_at)


def _keys(context: LoadContext, batch: _Batch, revised: Revised | None, gone: Gone) -> tuple[Keys, bool]:
    """Return the key times, and whether a changed row differs from another source's."""
    dataset, answers = context.dataset, batch.task.manifest.answers
    time = dataset.time_column
    rejected = ranges.times_by_answer(ranges.key_times(batch.rejected, time)) if batch.rejected_rows else {}
    rows = batch.accepted.unionByName(batch.rejected)
    edges = edge_gaps(context, batch.task, rows, batch.answers)
    missing = ranges.joined_groups(id_gaps(rows, dataset, answers), edges.missing)
    keys = Keys(rejected=rejected, retracted=gone.retracted, missing=missing, reopened=edges.beside)
    if not batch.accepted_rows:
        return keys, False
    if revised is None:
        times = ranges.times_by_answer(batch.staged.key_times(batch.files, time)) if batch.staged else {}
        return replace(keys, accepted=times, changed=times), False
    told = ranges.key_times(revised.observed, time, FLAGS)
    accepted, changed, withdrawn = (ranges.times_by_answer(told, flag) for flag in (None, "is_changed", "is_withdrawn"))
    keys = replace(keys, accepted=accepted, changed=changed)
    is_disputed = bool(pc.any(told.column("is_disputed"), min_count=0).as_py())
    return findings.with_withdrawn(keys, withdrawn, answers), is_disputed


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
