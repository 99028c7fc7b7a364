"""Archive tasks → landed zips, downloaded in parallel, each outcome in the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import psycopg

from marketlake.crash import crash_point
from marketlake.errors import MarketlakeError, SetupError
from marketlake.exchanges.archives import ArchiveDownloader, ArchiveOutcome
from marketlake.exchanges.protocol import ArchiveLayout
from marketlake.fetch.answers import absent_answer, archive_answer, failed_answer
from marketlake.instants import Clock
from marketlake.ledger.archive_files import ArchiveFile, archive_file, record_archive
from marketlake.work import Answer, FetchTask

UNCHANGED = "unchanged"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveSource:
    """What archive tasks need: the downloader, the layout of paths, the run's clock, the ledger."""

    downloader: ArchiveDownloader
    layout: ArchiveLayout
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
            self._futures[self._pool.submit(_download, self._source.downloader, task, loaded)] = task

    def finish(self, *, landed: Callable[[FetchTask, list[Answer]], None]) -> list[FetchTask]:
        """Wait for all; `landed` hears of each one's answer. Returns the absent ones that REST may answer.

        Raises:
            SetupError: no space is left.
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
        except SetupError:
            raise
        except MarketlakeError as error:
            self._record(task, ArchiveOutcome("pending", error=str(error)))
            return [failed_answer(task, at, str(error))]
        if outcome.status == UNCHANGED:
            return []
        self._record(task, outcome)
        if outcome.stored is not None:
            return [archive_answer(task, outcome.stored)]
        if outcome.status == "absent":
            return [absent_answer(task, at)]
        _LOG.error("%s is not loaded: %s", task.archive_path, outcome.error)
        return [failed_answer(task, at, f"{task.archive_path}: {outcome.error}")]

    def _record(self, task: FetchTask, outcome: ArchiveOutcome) -> None:
        path = _path(task)
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
                status=outcome.status,
                bytes=outcome.stored.bytes if outcome.stored else None,
                published_sha256=outcome.published_sha256,
                computed_sha256=outcome.computed_sha256,
                checked_at=self._source.clock.now(),
                error=outcome.error,
            ),
        )

    def _loaded_sha256(self, task: FetchTask) -> str | None:
        known = archive_file(self._source.connection, task.exchange, _path(task))
        return known.loaded_sha256 if known else None


def _download(downloader: ArchiveDownloader, task: FetchTask, loaded_sha256: str | None) -> ArchiveOutcome:
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
