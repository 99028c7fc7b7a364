"""REST tasks → segments: several requests in flight, responses appended in order, one market's failure its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from marketlake.crash import crash_point
from marketlake.errors import DataError, MarketlakeError, SetupError
from marketlake.exchanges.failures import MarketRefusedError, UnreadableBodyError
from marketlake.exchanges.protocol import ExchangeClient, Page, Response
from marketlake.fetch.answers import failed_answer, rest_answer, window_meta
from marketlake.instants import Clock, Window, format_instant
from marketlake.landing import LandingArea, Segment
from marketlake.work import Answer, FetchTask, LandedFile

REQUESTS_IN_FLIGHT = 8
# Enough to keep the requests busy while one page is retried, few enough to hold in memory.
PAGES_AHEAD = 32


@dataclass(frozen=True)
class RestSource:
    """What REST tasks need: the client, where to land, the run's clock and how far it is from the exchange's."""

    client: ExchangeClient
    area: LandingArea
    clock: Clock
    run_id: str
    exchange_ahead: timedelta

    def segment_path(self, task: FetchTask) -> str:
        """Return where the task's responses land."""
        return self.area.segment_path(task.exchange, task.dataset, run_id=self.run_id, task_id=task.task_id)


@dataclass(frozen=True)
class _Part:
    """One page window of a task and the pages it came to; `is_last` of its task."""

    task: FetchTask
    window: Window
    pages: Future[list[Page]] | None
    is_first: bool
    is_last: bool


def landed_answer(source: RestSource, task: FetchTask) -> Answer | None:
    """Return the answer that an earlier attempt of this run landed in full, if any."""
    stored = source.area.stored(source.segment_path(task))
    if stored is None or stored.meta.get("window") != window_meta(task.window):
        return None
    return rest_answer(task, stored)


def fetch_rest(
    source: RestSource, tasks: Sequence[FetchTask], *, landed: Callable[[FetchTask, list[Answer]], None]
) -> None:
    """Fetch the tasks; `landed` hears of each one's answers as it is done, in the order of the tasks.

    A task whose source stops answering keeps what it has: an answered part and a failed rest. A market that the
    exchange refuses is not asked again.

    Raises:
        SetupError: no space is left.
    """
    refused: dict[str, str] = {}
    pool = ThreadPoolExecutor(REQUESTS_IN_FLIGHT, thread_name_prefix="rest")
    try:
        writer: _TaskWriter | None = None
        for part in _ahead(_parts(source, tasks, pool, refused)):
            if part.is_first:
                writer = _TaskWriter(source, part.task, refused)
            if writer is not None:
                writer.take(part)
                if part.is_last:
                    landed(part.task, writer.finish())
                    crash_point("fetch.task_landed")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _parts(
    source: RestSource, tasks: Sequence[FetchTask], pool: ThreadPoolExecutor, refused: dict[str, str]
) -> Iterator[_Part]:
    for task in tasks:
        windows = _page_windows(source, task, refused)
        for place, window in enumerate(windows):
            is_refused = task.market.symbol in refused
            pages = None if is_refused else pool.submit(_pages, source, task, window)
            yield _Part(task, window, pages, place == 0, place == len(windows) - 1)


def _page_windows(source: RestSource, task: FetchTask, refused: dict[str, str]) -> list[Window]:
    try:
        return source.client.page_windows(task.dataset, task.market, timeframe=task.timeframe, window=task.window)
    except MarketlakeError as error:
        refused[task.market.symbol] = str(error)
        return [task.window]


def _ahead(parts: Iterator[_Part]) -> Iterator[_Part]:
    """Yield the parts in order while later ones are already being asked for."""
    waiting = deque[_Part]()
    for part in parts:
        waiting.append(part)
        if len(waiting) >= PAGES_AHEAD:
            yield waiting.popleft()
    yield from waiting


def _pages(source: RestSource, task: FetchTask, window: Window) -> list[Page]:
    """Ask until the window's end; a page that ends early is followed by one that starts after its last row."""
    pages, since = list[Page](), window.start
    while since < window.end:
        part = Window(since, window.end)
        page = source.client.page(task.dataset, task.market, timeframe=task.timeframe, window=part)
        pages.append(page)
        if page.next_since is None:
            break
        if page.next_since <= since:
            raise DataError(f"{page.response.url} gave only rows before its start; the exchange ignores startTime")
        since = page.next_since
    return pages


class _TaskWriter:
    """Writes one task's segment while its pages come in, until one fails."""

    def __init__(self, source: RestSource, task: FetchTask, refused: dict[str, str]) -> None:
        self._source = source
        self._task = task
        self._refused = refused
        self._segment: Segment | None = None
        self._last: Response | None = None
        self._failed_from: datetime | None = None
        self._error = ""
        self._unreadable: UnreadableBodyError | None = None

    def take(self, part: _Part) -> None:
        """Append the part's responses, or note its failure; what comes after a failure is left out."""
        if self._failed_from is not None:
            return
        if part.pages is None:
            self._fail(part, self._refused[self._task.market.symbol])
            return
        try:
            for page in part.pages.result():
                self._append(page.response)
        except SetupError:
            raise
        except MarketlakeError as error:
            if isinstance(error, MarketRefusedError):
                self._refused.setdefault(self._task.market.symbol, str(error))
            self._unreadable = error if isinstance(error, UnreadableBodyError) else None
            self._fail(part, str(error))

    def finish(self) -> list[Answer]:
        """Close the segment and return the answers: the answered part, the failed rest, or both."""
        answers = list[Answer]()
        end = self._failed_from or self._task.window.end
        if self._segment is not None and self._last is not None:
            stored = self._segment.finish(
                {
                    "url": self._last.url.split("?")[0],
                    "source_ref": self._last.source_ref,
                    "received_at": format_instant(self._last.received_at),
                    "window": window_meta(Window(self._task.window.start, end)),
                    "run_id": self._source.run_id,
                    "task_id": self._task.task_id,
                }
            )
            answers.append(rest_answer(self._task, stored))
        if self._failed_from is not None:
            rest = Window(self._failed_from, self._task.window.end)
            at, files = self._source.clock.now(), self._unreadable_files()
            answers.append(failed_answer(self._task, at, self._error, window=rest, files=files))
        return answers

    def _append(self, response: Response) -> None:
        if self._segment is None:
            self._segment = Segment(self._source.area, self._source.segment_path(self._task))
        self._last = response
        self._segment.append(
            {
                "url": response.url,
                "path": response.source_ref,
                "params": dict(response.params),
                "status": response.status,
                "headers": dict(response.headers),
                "received_at": format_instant(response.received_at),
                # What is closed is decided by the exchange's clock when it was asked: never too early.
                "exchange_time": format_instant(response.requested_at + self._source.exchange_ahead),
                "body": response.text,
            }
        )

    def _fail(self, part: _Part, error: str) -> None:
        self._failed_from, self._error = part.window.start, error

    def _unreadable_files(self) -> tuple[LandedFile, ...]:
        """Land the start of a body that stayed unreadable, so that the load can put it into the DLQ."""
        error = self._unreadable
        if error is None:
            return ()
        task = replace(self._task, task_id=f"{self._task.task_id}.unreadable")
        received_at = format_instant(error.received_at)
        line = {"url": error.url, "received_at": received_at, "body": error.body}
        with Segment(self._source.area, self._source.segment_path(task)) as segment:
            segment.append(line)
            stored = segment.finish({"url": error.url, "received_at": received_at, "run_id": self._source.run_id})
        return (
            LandedFile(
                path=stored.path,
                sha256=stored.sha256,
                bytes=stored.bytes,
                url=error.url,
                source_ref=error.url.split("?")[0],
                received_at=error.received_at,
                format="rest_unreadable",
            ),
        )
