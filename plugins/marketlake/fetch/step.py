"""One fetch: take the run's tasks, skip what an earlier attempt landed, ask archives and REST, seal, register."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psycopg

from marketlake.crash import crash_point
from marketlake.errors import DataError, MarketlakeError, OtherMarketError, UnavailableError
from marketlake.exchanges.archives import ARCHIVE_SCOPE, ArchiveDownloader
from marketlake.exchanges.clock import measure_clock
from marketlake.exchanges.connections import exchange_settings, open_client, open_requester
from marketlake.exchanges.protocol import ExchangeClient
from marketlake.exchanges.registry import EXCHANGES, ExchangeEntry, exchange_named
from marketlake.fetch.answers import FAILED, failed_answer
from marketlake.fetch.archive_tasks import ArchiveDownloads, ArchiveSource
from marketlake.fetch.rest_tasks import RestSource, fetch_rest, landed_answer
from marketlake.landing import LandingArea, manifests_of_run, read_manifest, seal_manifest
from marketlake.ledger.budget import SharedBudget
from marketlake.ledger.database import connect
from marketlake.ledger.feed_market import lake_market
from marketlake.ledger.manifests import register_manifest
from marketlake.ledger.runs import Run
from marketlake.ledger.tasks import tasks_of
from marketlake.settings import Settings
from marketlake.work import Answer, FetchTask, Manifest

LIVE = "live"
PROGRESS_SECONDS = 5.0
# A manifest is loaded as the kind of its strongest task.
_KIND_OF_REASON = {"force": "force", "reissue": "reissue"}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchSummary:
    """What one fetch came to: counts of tasks, of landed files and their bytes, and the failed answers' errors."""

    run_id: str
    exchange: str
    dataset: str
    tasks: int
    answered: int
    absent: int
    failed: int
    files: int
    bytes: int
    manifests: tuple[str, ...]
    errors: tuple[str, ...]
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether every source that was asked gave an answer."""
        return self.failed == 0


def fetch(
    connection: psycopg.Connection,
    settings: Settings,
    *,
    run: Run,
    exchange: str,
    dataset: str,
    known: Mapping[str, ExchangeEntry] = EXCHANGES,
) -> FetchSummary:
    """Fetch the run's tasks of one exchange and dataset; seal and register one manifest.

    Tasks that fail become `failed` answers and do not stop the others. A repeat asks only for what is not landed: after
    a crash the tasks without a file, after a sealed manifest the tasks that failed in it, under a further manifest.

    Raises:
        UnknownExchangeError: no such exchange.
        OtherMarketError: another market answers than the one that feeds the lake.
        SetupError: no space is left.
        UnavailableError: the ledger's database went away; what is landed is kept.
    """
    started = time.monotonic()
    area = LandingArea(settings.lake_root)
    sealed = manifests_of_run(area, exchange, dataset, run_id=run.run_id)
    earlier = [read_manifest(path) for path in sealed]
    try:
        tasks = tasks_of(connection, run.run_id, exchange=exchange, dataset=dataset)
        todo = _not_answered(tasks, earlier)
        for manifest, path in zip(earlier, sealed, strict=True):
            register_manifest(connection, manifest, path)
        if todo:
            answers = _Fetch(connection, settings, run, exchange, dataset, area, known).answers(todo)
            sealed += _seal(connection, area, run, answers, attempt=len(sealed) + 1, names=(exchange, dataset))
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnavailableError(
            f"the ledger's database went away while {exchange} {dataset} was fetched: {reason}. Start it and run the "
            f"same command again; what is landed is kept"
        ) from None
    summary = _summary(run, exchange, dataset, len(tasks), sealed, time.monotonic() - started)
    _LOG.info(
        "%s %s: %d tasks, %d answered, %d absent, %d failed; %d files, %.1f MB in %.1f s",
        *(exchange, dataset, summary.tasks, summary.answered, summary.absent, summary.failed),
        *(summary.files, summary.bytes / 1e6, summary.seconds),
    )
    return summary


class _Fetch:
    """The work of one fetch between reading its tasks and sealing its manifest."""

    def __init__(
        self,
        connection: psycopg.Connection,
        settings: Settings,
        run: Run,
        exchange: str,
        dataset: str,
        area: LandingArea,
        known: Mapping[str, ExchangeEntry],
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._run = run
        self._exchange = exchange
        self._dataset = dataset
        self._area = area
        self._known = known
        self._section = exchange_settings(settings, exchange, known=known)
        self._answers: dict[str, list[Answer]] = {}
        self._done = 0
        self._said_at = time.monotonic()

    def answers(self, tasks: Sequence[FetchTask]) -> list[Answer]:
        """Return the answers to all tasks, in their order."""
        self._total = len(tasks)
        downloads = self._start_archives([task for task in tasks if task.source == "archive"])
        try:
            self._rest([task for task in tasks if task.source == "rest"])
            if downloads is not None:
                fall_back = downloads.finish(landed=self._landed)
                self._total += len(fall_back)
                self._rest([replace(task, source="rest", archive_path=None) for task in fall_back])
        finally:
            if downloads is not None:
                downloads.close()
        return [answer for task in tasks for answer in self._answers.get(task.task_id, [])]

    def _start_archives(self, tasks: Sequence[FetchTask]) -> ArchiveDownloads | None:
        layout = exchange_named(self._exchange, known=self._known).archives
        if not tasks:
            return None
        if layout is None:
            raise DataError(f"{self._exchange} has no archives, but {tasks[0].task_id} asks for one; plan again")
        requester = open_requester(
            self._settings, self._exchange, self._section, scopes=(ARCHIVE_SCOPE,), clock=self._run.clock
        )
        downloader = ArchiveDownloader(
            self._area,
            requester,
            archive_url=self._section.archive_url,
            exchange=self._exchange,
            dataset=self._dataset,
            run_id=self._run.run_id,
        )
        source = ArchiveSource(downloader, layout, self._run.clock, self._connection)
        downloads = ArchiveDownloads(source, workers=self._section.archive_workers)
        downloads.start(tasks)
        return downloads

    def _rest(self, tasks: Sequence[FetchTask]) -> None:
        if not tasks:
            return
        with connect(self._settings) as budget_connection:
            # Pauses and minutes are real time, the same for every process, whatever clock its run follows.
            budget = SharedBudget(budget_connection, self._exchange, ceiling=self._section.weight_ceiling)
            client = open_client(
                self._settings, self._exchange, budget=budget, clock=self._run.clock, known=self._known
            )
            try:
                self._ask(client, tasks)
            finally:
                client.close()

    def _ask(self, client: ExchangeClient, tasks: Sequence[FetchTask]) -> None:
        source = RestSource(client, self._area, self._run.clock, self._run.run_id, timedelta(0))
        missing = list[FetchTask]()
        for task in tasks:
            landed = landed_answer(source, task)
            if landed is None:
                missing.append(task)
            else:
                self._landed(task, [landed])
        if not missing:
            return
        try:
            reading = measure_clock(client)
        except MarketlakeError as error:
            for task in missing:
                self._landed(task, [failed_answer(task, self._run.clock.now(), str(error))])
            return
        feed = lake_market(self._connection)
        if feed is not None and reading.market != feed:
            raise OtherMarketError(
                f"{self._section.rest_url} is the market {reading.market!r}, this lake is fed by {feed!r}; set "
                f"exchanges.{self._exchange}.rest_url back, or use another MARKETLAKE_HOME"
            )
        fetch_rest(replace(source, exchange_ahead=-reading.deviation), missing, landed=self._landed)

    def _landed(self, task: FetchTask, answers: list[Answer]) -> None:
        self._answers.setdefault(task.task_id, []).extend(answers)
        self._done += 1
        for answer in answers:
            if answer.status == FAILED:
                _LOG.error("%s %s %s failed: %s", task.market.symbol, task.timeframe, answer.window, answer.error)
        if time.monotonic() - self._said_at >= PROGRESS_SECONDS:
            self._said_at = time.monotonic()
            _LOG.info("%s %s: %d of %d tasks done", self._exchange, self._dataset, self._done, self._total)


def _not_answered(tasks: Sequence[FetchTask], earlier: Sequence[Manifest]) -> list[FetchTask]:
    """Return the tasks that no sealed manifest of the run holds, or whose newest one holds a failure."""
    has_failed: dict[str, bool] = {}
    for manifest in earlier:
        for task_id in {answer.task_id for answer in manifest.answers}:
            has_failed[task_id] = any(a.status == FAILED for a in manifest.answers if a.task_id == task_id)
    return [task for task in tasks if has_failed.get(task.task_id, True)]


def _seal(
    connection: psycopg.Connection,
    area: LandingArea,
    run: Run,
    answers: Sequence[Answer],
    *,
    attempt: int,
    names: tuple[str, str],
) -> list[Path]:
    if not answers:
        return []
    kinds = [kind for reason, kind in _KIND_OF_REASON.items() if any(a.reason == reason for a in answers)]
    manifest = Manifest(
        run_id=run.run_id,
        exchange=names[0],
        dataset=names[1],
        feed_market=lake_market(connection) or LIVE,
        clock_offset_seconds=run.clock_offset.total_seconds(),
        now=run.now,
        answers=tuple(answers),
        kind=kinds[0] if kinds else "load",
    )
    crash_point("fetch.before_seal")
    path = seal_manifest(area, manifest, sealed_at=run.clock.now(), attempt=attempt)
    register_manifest(connection, read_manifest(path), path)
    return [path]


def _summary(
    run: Run, exchange: str, dataset: str, task_count: int, sealed: Sequence[Path], seconds: float
) -> FetchSummary:
    newest: dict[str, list[Answer]] = {}
    for path in sealed:
        manifest = read_manifest(path)
        found: dict[str, list[Answer]] = {}
        for answer in manifest.answers:
            found.setdefault(answer.task_id, []).append(answer)
        newest.update(found)
    answers = [answer for several in newest.values() for answer in several]
    files = {file.path: file for answer in answers for file in answer.files}
    return FetchSummary(
        run_id=run.run_id,
        exchange=exchange,
        dataset=dataset,
        tasks=task_count,
        answered=sum(any(a.status == "answered" for a in several) for several in newest.values()),
        absent=sum(any(a.status == "absent" for a in several) for several in newest.values()),
        failed=sum(any(a.status == FAILED for a in several) for several in newest.values()),
        files=len(files),
        bytes=sum(file.bytes for file in files.values()),
        manifests=tuple(str(path) for path in sealed),
        errors=tuple(dict.fromkeys(answer.error for answer in answers if answer.error)),
        seconds=round(seconds, 3),
    )
