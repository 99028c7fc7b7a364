"""Load every sealed manifest that waits: type, audit, split, and commit to DLQ and bronze.

One session drains the manifests of all runs. One that raises is recorded and does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from itertools import groupby

import psycopg
from pyspark.sql import SparkSession

from marketlake import ledger
from marketlake.datasets import dataset_named
from marketlake.errors import DataError, MarketlakeError, SetupError
from marketlake.landing import LandingArea, read_manifest, verify_files
from marketlake.ledger import LoadRecord, ManifestRow
from marketlake.rules import rules_for
from marketlake.settings import Settings, load_settings
from marketlake.work import Manifest
from spark_jobs.audit import import_audit, judge
from spark_jobs.bronze.bulk import NotInBulkError, start_workers, why_not_in_bulk
from spark_jobs.bronze.commit import commit_in_bulk, commit_manifest
from spark_jobs.bronze.conform import conform, is_small
from spark_jobs.bronze.context import LoadContext, WaitingManifest
from spark_jobs.lib.causes import cause_of
from spark_jobs.lib.quality import with_reasons
from spark_jobs.lib.session import build_session, tuned_for_few_rows

_log = logging.getLogger("marketlake.load")


def load_manifests(context: LoadContext, tasks: Sequence[WaitingManifest]) -> list[LoadRecord]:
    """Load the manifests of one dataset, in bulk where that applies; return what was recorded of each."""
    done, others = list[LoadRecord](), list[WaitingManifest]()
    for task in tasks:
        try:
            done += _load_in_bulk(context, task)
        except NotInBulkError as why_not:
            if not is_small([task.manifest]):
                _log.info("%s: not in bulk, %s", task.name, why_not)
            others.append(task)
    return [*done, *(_load_compared(context, others) if others else [])]


def _load_in_bulk(context: LoadContext, task: WaitingManifest) -> list[LoadRecord]:
    why_not = why_not_in_bulk(task.manifest)
    if why_not is not None:
        raise NotInBulkError(why_not)
    try:
        record = commit_in_bulk(context, task)
    except (NotInBulkError, psycopg.OperationalError):
        raise
    except Exception as error:  # whatever it is, it is recorded, and the next one is due
        record_failure(context, task, error)
        return []
    _log.info("%s: in bulk: %s", task.name, _summary(record))
    return [record] if record else []


def _load_compared(context: LoadContext, tasks: Sequence[WaitingManifest]) -> list[LoadRecord]:
    """Type and judge the manifests together, then commit each."""
    try:
        return _load_together(context, tasks)
    except psycopg.OperationalError:
        raise
    except Exception as error:  # whatever it is, it is recorded or narrowed down, and the next one is due
        if len(tasks) == 1:
            record_failure(context, tasks[0], error)
            return []
        why = cause_of(error, where=context.root)
        _log.warning("%s: %s; each manifest is now loaded alone", context.dataset.name, why)
        return [record for task in tasks for record in _load_compared(context, [task])]


def _load_together(context: LoadContext, tasks: Sequence[WaitingManifest]) -> list[LoadRecord]:
    manifests = [task.manifest for task in tasks]
    with tuned_for_few_rows(context.spark) if is_small(manifests) else nullcontext():
        return _load_frames(context, tasks, manifests)


def _load_frames(
    context: LoadContext, tasks: Sequence[WaitingManifest], manifests: Sequence[Manifest]
) -> list[LoadRecord]:
    rows = conform(context.spark, manifests, context.dataset, area=context.area)
    judged = with_reasons(rows, context.rules).persist()
    try:
        judgement = judge(
            judged,
            context.dataset,
            rules=context.rules,
            settings=context.settings,
            manifests=len(tasks),
            name=f"{context.dataset.name}-{tasks[0].manifest_id[:8]}",
        )
        done = list[LoadRecord]()
        for number, task in enumerate(tasks):
            try:
                record = commit_manifest(context, task, judged, judgement, manifest_no=number)
                _log.info("%s: %s", task.name, _summary(record))
                done += [record] if record else []
            except psycopg.OperationalError:
                raise  # without the ledger nothing can be recorded of the others either
            except Exception as error:  # as above
                record_failure(context, task, error)
        return done
    finally:
        judged.unpersist()


def record_failure(context: LoadContext, task: WaitingManifest, error: Exception) -> None:
    """Record that a manifest could not be loaded; its windows are open again."""
    why = cause_of(error, where=context.root)
    _log.error("%s failed: %s", task.name, why)
    _log.debug("%s", task.name, exc_info=error)
    _fail(context, task.manifest, task.manifest_id, why, state="failed")


def load_waiting(
    spark: SparkSession, settings: Settings, connection: psycopg.Connection, rows: Sequence[ManifestRow]
) -> list[LoadRecord]:
    """Load the registered manifests, those of a dataset together; return what was recorded of those that loaded."""
    calendar = ledger.outage_calendar(settings)
    done = list[LoadRecord]()
    for name, group in groupby(sorted(rows, key=lambda row: row.dataset), key=lambda row: row.dataset):
        dataset = dataset_named(name)
        rules = rules_for(dataset, settings.quality)
        context = LoadContext(spark, settings, connection, dataset, rules, calendar)
        tasks = [task for row in sorted(group, key=lambda row: row.sealed_at) if (task := _readable(context, row))]
        if tasks:
            done += load_manifests(context, tasks)
    return done


def _readable(context: LoadContext, row: ManifestRow) -> WaitingManifest | None:
    """Return the task of a manifest whose files are what was landed; else record the damage."""
    try:
        manifest = read_manifest(manifest_file(context.area, row))
    except (DataError, OSError) as error:
        why = _damage(error)
        ledger.record_failure(context.connection, row.manifest_id, why, state="damaged", kept_in=context.area)
        return None
    try:
        verify_files(context.area, manifest)
        return WaitingManifest(row.manifest_id, manifest)
    except (DataError, OSError) as error:
        _fail(context, manifest, row.manifest_id, _damage(error), state="damaged")
        return None


def _damage(error: DataError | OSError) -> str:
    if isinstance(error, DataError):
        return str(error)
    return f"{error.filename or 'a landed file'} cannot be read: {error.strerror or error}"


def manifest_file(area: LandingArea, row: ManifestRow) -> str:
    """Return where a registered manifest lies; its path is relative to the landing folder, or absolute."""
    return row.path if row.path.startswith("/") else str(area.absolute(row.path))


def _fail(context: LoadContext, manifest: Manifest, manifest_id: str, why: str, *, state: str) -> None:
    cause = "load_failed" if state == "failed" else state
    facts = [
        fact
        for answer in manifest.answers
        for fact in ledger.facts_of_refusal(
            answer, exchange=manifest.exchange, dataset=context.dataset, now=manifest.now, cause=cause
        )
    ]
    ledger.record_failure(context.connection, manifest_id, why, state=state, facts=facts, kept_in=context.area)


def _summary(record: LoadRecord | None) -> str:
    if record is None:
        return "another process judged it meanwhile"
    counts = (
        f"{record.typed_rows:,} rows, {record.appended_rows:,} new, {record.agreed_rows:,} known, "
        f"{record.rejected_rows:,} rejected, {record.retracted_rows:,} retracted in {record.seconds:.1f} s"
    )
    return counts if record.manifest_state == "loaded" else f"refused: {record.error}"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="the run that asks; manifests of all runs are loaded")
    parser.add_argument(
        "--retry-refused", action="store_true", help="judge again what was refused of this run, with today's rules"
    )
    return parser.parse_args(argv)


def run(settings: Settings, *, run_id: str | None, retry_refused: bool) -> dict[str, int]:
    """Load what waits, and on request what was refused of the run; return counts of manifests and rows."""
    with ledger.connect(settings) as connection:
        if retry_refused:
            refused = ledger.manifests_refused(connection, run_id=run_id)
            ledger.wait_again(connection, [row.manifest_id for row in refused])
        rows = ledger.manifests_waiting(connection)
        if not rows:
            return {"manifests": 0, "appended_rows": 0, "rejected_rows": 0}
        # The audit takes seconds to import, the JVM seconds to start: together they take the longer of the two.
        importing = threading.Thread(target=import_audit, daemon=True)
        importing.start()
        spark = _started_session(settings)
        if _has_bulk(LandingArea(settings.lake_root), rows):
            threading.Thread(target=_start_workers, args=[spark], daemon=True).start()
        importing.join()
        done = load_waiting(spark, settings, connection, rows)
        return {
            "manifests": len(rows),
            "loaded": sum(record.manifest_state == "loaded" for record in done),
            "refused": sum(record.manifest_state == "refused" for record in done),
            "failed": _count_failed(connection, rows),
            "appended_rows": sum(record.appended_rows for record in done),
            "rejected_rows": sum(record.rejected_rows for record in done),
        }


def _started_session(settings: Settings) -> SparkSession:
    try:
        return build_session("load", settings)
    except MarketlakeError:
        raise
    except Exception as error:  # whatever Spark's start raises, nothing was loaded
        why = cause_of(error, where=str(settings.home))
        raise SetupError(
            f"Spark did not start with master {settings.spark.master}: {why}; `marketlake doctor` tells what is "
            "missing; what landed still waits"
        ) from error


def _has_bulk(area: LandingArea, rows: Sequence[ManifestRow]) -> bool:
    """Whether one of the manifests may be loaded in bulk, as far as it can be told without the lease."""
    for row in rows:
        with suppress(DataError, OSError):  # a damaged one is told of when its turn comes
            if why_not_in_bulk(read_manifest(manifest_file(area, row))) is None:
                return True
    return False


def _start_workers(spark: SparkSession) -> None:
    with suppress(Exception):  # whatever keeps a worker from starting, the load meets it again and tells
        start_workers(spark)


def _count_failed(connection: psycopg.Connection, rows: Sequence[ManifestRow]) -> int:
    found = [ledger.registered_manifest(connection, row.manifest_id) for row in rows]
    return sum(row is not None and row.state in ("failed", "damaged") for row in found)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    try:
        result = run(load_settings(), run_id=args.run, retry_refused=args.retry_refused)
    except MarketlakeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or ["connection closed"])[0]
        print(
            f"error: the database stopped answering during the load: {reason}; what was not recorded still waits, "
            "run the same command again",
            file=sys.stderr,
        )
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
