"""One fetch: take the run's tasks, skip what an earlier attempt landed, ask archives and REST, seal, register."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
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
from marketlake.fetch.rebuild_tasks import TradeSource, rebuild
from marketlake.fetch.rest_tasks import RestSource, fetch_rest, landed_answer
from marketlake.fetch.summary import FetchSummary, summary_of
from marketlake.landing import LandingArea, manifests_of_run, read_manifest, readable_manifests, seal_manifest
from marketlake.ledger.budget import SharedBudget
from marketlake.ledger.database import connect, lock_key
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
    Another process that does the same fetch is waited for.

    Raises:
        UnknownExchangeError: no such exchange.
        OtherMarketError: another market answers than the one that feeds the lake.
        SetupError: no space is left.
        UnavailableError: the ledger's database went away; what is landed is kept.
    """
    started = time.monotonic()
    area = LandingArea(settings.lake_root)
    try:
        with _alone(connection, run.run_id, exchange, dataset):
            sealed = manifests_of_run(area, exchange, dataset, run_id=run.run_id)
            earlier = readable_manifests(sealed)
            tasks = tasks_of(connection, run.run_id, exchange=exchange, dataset=dataset)
            todo = _not_answered(tasks, [manifest for manifest, _ in earlier])
            for manifest, path in earlier:
                register_manifest(connection, manifest, path)
            if todo:
                attempt = len(sealed) + 1
                answers = _Fetch(connection, settings, run, exchange, dataset, area, known, attempt).answers(todo)
                sealed += _seal(connection, area, run, answers, attempt=attempt, names=(exchange, dataset))
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnavailableError(
            f"the ledger's database went away while {exchange} {dataset} was fetched: {reason}. Start it and run the "
            f"same command again; what is landed is kept"
        ) from None
    summary = summary_of(run, exchange, dataset, len(tasks), sealed, time.monotonic() - started)
    _LOG.info(
        "%s %s: %d tasks, %d answered, %d absent, %d failed; %d files, %.1f MB in %.1f s",
        *(exchange, dataset, summary.tasks, summary.answered, summary.absent, summary.failed),
        *(summary.files, summary.bytes / 1e6, summary.seconds),
    )
    return summary


@contextmanager
def _alone(connection: psycopg.Connection, run_id: str, exchange: str, dataset: str) -> Iterator[None]:
    """Let one process at a time fetch this: two would write the same segments and seal the same manifest."""
    key = lock_key(f"fetch:{run_id}:{exchange}:{dataset}")
    row = connection.execute("select pg_try_advisory_lock(%s)", [key]).fetchone()
    if row is None or not row[0]:
        _LOG.info("another process fetches %s %s of the run %s; waiting for it", exchange, dataset, run_id)
        connection.execute("select pg_advisory_lock(%s)", [key])
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", [key])


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
        attempt: int,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._run = run
        self._exchange = exchange
        self._dataset = dataset
        self._area = area
        self._known = known
        self._attempt = attempt
        self._feed = lake_market(connection)
        self._stop = threading.Event()
        self._section = exchange_settings(settings, exchange, known=known)
        self._answers: dict[str, list[Answer]] = {}
        self._done = 0
        self._said_at = time.monotonic()

    def answers(self, tasks: Sequence[FetchTask]) -> list[Answer]:
        """Return the answers to all tasks, in their order."""
        self._total = len(tasks)
        with ExitStack() as stack:
            downloads = self._start_archives([task for task in tasks if task.source == "archive"], stack)
            try:
                self._rest([task for task in tasks if task.source == "rest"])
                self._rebuild([task for task in tasks if task.source == "rebuilt"])
                if downloads is not None:
                    fall_back = downloads.finish(landed=self._landed)
                    self._total += len(fall_back)
                    self._rest([replace(task, source="rest", archive_path=None) for task in fall_back])
            except BaseException:
                self._stop.set()  # what waits for a budget or a ban would be waited for
                raise
        return [answer for task in tasks for answer in self._answers.get(task.task_id, [])]

    def _start_archives(self, tasks: Sequence[FetchTask], stack: ExitStack) -> ArchiveDownloads | None:
        entry = exchange_named(self._exchange, known=self._known)
        layout = entry.archives
        if not tasks:
            return None
        if layout is None:
            raise DataError(f"{self._exchange} has no archives, but {tasks[0].task_id} asks for one; plan again")
        requester = open_requester(
            self._settings,
            self._exchange,
            self._section,
            scopes=(ARCHIVE_SCOPE,),
            budget=self._budget(stack),
            clock=self._run.clock,
            market=self._feed,
            stop=self._stop,
        )
        stack.callback(requester.http.close)
        downloader = ArchiveDownloader(
            self._area,
            requester,
            archive_url=self._section.archive_url,
            exchange=self._exchange,
            dataset=self._dataset,
            run_id=self._run.run_id,
        )
        source = ArchiveSource(downloader, layout, entry.readers, self._area, self._run.clock, self._connection)
        downloads = ArchiveDownloads(source, workers=self._section.archive_workers)
        stack.callback(downloads.close)
        downloads.start(tasks)
        return downloads

    def _rest(self, tasks: Sequence[FetchTask]) -> None:
        if not tasks:
            return
        with ExitStack() as stack:
            client = open_client(
                self._settings,
                self._exchange,
                budget=self._budget(stack),
                clock=self._run.clock,
                market=self._feed,
                stop=self._stop,
                known=self._known,
            )
            stack.callback(client.close)
            self._ask(client, tasks)

    def _budget(self, stack: ExitStack) -> SharedBudget:
        # Pauses and minutes are real time, the same for every process, whatever clock its run follows.
        connection = stack.enter_context(connect(self._settings))
        return SharedBudget(connection, self._exchange, ceiling=self._section.weight_ceiling)

    def _rebuild(self, tasks: Sequence[FetchTask]) -> None:
        if tasks:
            source = TradeSource(self._settings.lake_root, self._area, self._run.clock, self._run.run_id, self._attempt)
            rebuild(source, tasks, landed=self._landed)

    def _ask(self, client: ExchangeClient, tasks: Sequence[FetchTask]) -> None:
        source = RestSource(
            client, self._area, self._run.clock, self._run.run_id, timedelta(0), self._attempt, self._stop
        )
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
        except OtherMarketError:
            raise
        except MarketlakeError as error:
            for task in missing:
                self._landed(task, [failed_answer(task, self._run.clock.now(), str(error))])
            return
        fetch_rest(replace(source, exchange_ahead=-reading.deviation), missing, landed=self._landed)

    def _landed(self, task: FetchTask, answers: list[Answer]) -> None:
        self._answers.setdefault(task.task_id, []).extend(answers)
        self._done += 1
        for answer in answers:
            if answer.status == FAILED:
                _LOG.error("%s %s %s failed: %s", task.market.symbol, task.timeframe, answer.window, answer.error)
        if time.monotonic() - self._said_at >= PROGRESS_SECONDS:
            self._said_at = time.monotonic()
            market = f"{task.market.symbol} {task.timeframe}".rstrip()
            _LOG.info(
                "%s %s: %d of %d tasks done, now %s", self._exchange, self._dataset, self._done, self._total, market
            )


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
    crash_point("fetch.between_seal_and_ledger")
    register_manifest(connection, read_manifest(path), path)
    return [path]
