"""Archive tasks → landed zips, downloaded in parallel, each outcome in the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

import psycopg

from marketlake.crash import crash_point
from marketlake.errors import DataError, MarketlakeError, OtherMarketError, SetupError
from marketlake.exchanges.archives import ArchiveDownloader, ArchiveOutcome
from marketlake.exchanges.protocol import ArchiveLayout, Readers
from marketlake.fetch.answers import absent_answer, archive_answer, failed_answer
from marketlake.instants import Clock
from marketlake.landing import LandingArea
from marketlake.ledger.archive_files import ArchiveFile, archive_file, record_archive
from marketlake.ledger.quality_logs import log_quality_event
from marketlake.work import Answer, FetchTask

UNCHANGED = "unchanged"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveSource:
    """What archive tasks need: the downloader, the layout of paths, the files' readers, the run's clock, the ledger."""

    downloader: ArchiveDownloader
    layout: ArchiveLayout
    readers: Readers
    area: LandingArea
    clock: Clock
    connection: psycopg.Connection


class ArchiveDownloads:
    """The archive tasks of one fetch while they run; `start` them, then `finish` when other work is done."""

    def __init__(self, source: ArchiveSource, *, workers: int) -> None:
        self._source = source
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="archive")
        self._futures: dict[Future[ArchiveOutcome], FetchTask] = {}

    def start(self, tasks: Sequence[FetchTask]) -> None:
        """Begin downloading in the background."""
        for task in tasks:
            loaded = self._loaded_sha256(task) if task.reason == "reissue" else None
            self._futures[self._pool.submit(_download, self._source, task, loaded)] = task

    def finish(self, *, landed: Callable[[FetchTask, list[Answer]], None]) -> list[FetchTask]:
        """Wait for all; `landed` hears of each one's answer. Returns the absent and held ones that REST may answer.

        Raises:
            SetupError: no space is left.
            OtherMarketError: the archives are another market's than the one that feeds the lake.
        """
        fall_back = []
        for future in as_completed(self._futures):
            task = self._futures[future]
            answers = self._answers(task, future)
            landed(task, answers)
            crash_point("fetch.task_landed")
            if task.may_fall_back and any(answer.status == "absent" for answer in answers):
                fall_back.append(task)
        return fall_back

    def close(self) -> None:
        """Stop what has not begun and wait for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _answers(self, task: FetchTask, future: Future[ArchiveOutcome]) -> list[Answer]:
        at = self._source.clock.now()
        try:
            outcome = future.result()
        except (SetupError, OtherMarketError):
            raise
        except MarketlakeError as error:
            self._record(task, ArchiveOutcome("pending", error=str(error)))
            return [failed_answer(task, at, str(error))]
        if outcome.status == UNCHANGED:
            return []
        self._record(task, outcome)
        if outcome.error is None and outcome.stored is not None:
            return [archive_answer(task, outcome.stored)]
        if outcome.error is None:
            return [absent_answer(task, at)]
        _LOG.error("%s is not loaded: %s", task.archive_path, outcome.error)
        self._log_event(task, outcome)
        if outcome.stored is not None and task.may_fall_back:
            return [absent_answer(task, at, outcome.error)]
        return [failed_answer(task, at, f"{task.archive_path}: {outcome.error}")]

    def _record(self, task: FetchTask, outcome: ArchiveOutcome) -> None:
        path, status = _path(task), outcome.status
        if outcome.stored is not None and outcome.error is None:
            loaded = self._loaded_sha256(task)
            # Until the new file is loaded, what is in bronze comes from one that the exchange replaced.
            status = status if loaded in (None, outcome.stored.sha256) else "superseded"
        period = self._source.layout.window(path)
        record_archive(
            self._source.connection,
            ArchiveFile(
                exchange=task.exchange,
                path=path,
                dataset=task.dataset,
                symbol=task.market.symbol,
                exchange_symbol=task.market.exchange_symbol,
                timeframe=task.timeframe,
                period_start=period.start,
                period_end=period.end,
                status=status,
                bytes=outcome.stored.bytes if outcome.stored else None,
                published_sha256=outcome.published_sha256,
                computed_sha256=outcome.computed_sha256,
                checked_at=self._source.clock.now(),
                error=outcome.error,
            ),
        )

    def _log_event(self, task: FetchTask, outcome: ArchiveOutcome) -> None:
        log_quality_event(
            self._source.connection,
            "validation_failed",
            exchange=task.exchange,
            symbol=task.market.symbol,
            timeframe=task.timeframe,
            details={
                "archive": _path(task),
                "status": outcome.status,
                "error": outcome.error,
                "published_sha256": outcome.published_sha256,
                "computed_sha256": outcome.computed_sha256,
            },
        )

    def _loaded_sha256(self, task: FetchTask) -> str | None:
        known = archive_file(self._source.connection, task.exchange, _path(task))
        return known.loaded_sha256 if known else None


def _download(source: ArchiveSource, task: FetchTask, loaded_sha256: str | None) -> ArchiveOutcome:
    outcome = _landed(source.downloader, task, loaded_sha256)
    if outcome.stored is None:
        return outcome
    # The load reads all files of a manifest or none: one that its reader would hold must not get there.
    answer = archive_answer(task, outcome.stored)
    [file] = answer.files
    path = source.area.absolute(file.path)
    try:
        for _ in source.readers.read_batches(task.dataset, path, file=file, answer=answer, with_payload=False):
            pass
    except DataError as error:
        return replace(outcome, status="downloaded", error=str(error))
    return outcome


def _landed(downloader: ArchiveDownloader, task: FetchTask, loaded_sha256: str | None) -> ArchiveOutcome:
    path = _path(task)
    stored = downloader.landed_by_run(path)
    if stored is not None:
        published = stored.meta.get("published_sha256")
        return ArchiveOutcome(stored.meta["status"], stored, published, stored.sha256)
    if task.reason == "reissue" and not downloader.is_reissued(path, loaded_sha256):
        return ArchiveOutcome(UNCHANGED)
    return downloader.download(path)


def _path(task: FetchTask) -> str:
    if task.archive_path is None:
        raise ValueError(f"task {task.task_id} has source archive and no archive_path")
    return task.archive_path
