"""REST tasks → segments: several requests in flight, responses appended in order, one market's failure its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from marketlake.crash import crash_point
from marketlake.errors import DataError, MarketlakeError, OtherMarketError, SetupError
from marketlake.exchanges.failures import MarketRefusedError, UnreadableBodyError
from marketlake.exchanges.protocol import ExchangeClient, Page, Response
from marketlake.fetch.answers import failed_answer, rest_answer, window_meta
from marketlake.instants import Clock, Window, format_instant
from marketlake.landing import LandingArea, Segment
from marketlake.work import Answer, FetchTask, LandedFile

REQUESTS_IN_FLIGHT = 8
# Enough to keep the requests busy while one page is retried, few enough to hold in memory.
PAGES_AHEAD = 32
# What a body that is JSON and yet not what was asked for can raise where a page is made of it.
_GARBLED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class RestSource:
    """What REST tasks need: the client, where to land, the run's clock and how far it is from the exchange's.

    `attempt` numbers the manifest that the answers go to, `stop` ends the pauses of requests in flight.
    """

    client: ExchangeClient
    area: LandingArea
    clock: Clock
    run_id: str
    exchange_ahead: timedelta
    attempt: int = 1
    stop: threading.Event = field(default_factory=threading.Event)

    def segment_path(self, task: FetchTask, *, part: str = "") -> str:
        """Return where the task's responses land."""
        names = {"run_id": self.run_id, "task_id": task.task_id + part}
        return self.area.segment_path(task.exchange, task.dataset, **names, attempt=self.attempt)


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

    A task keeps what it got: its answered parts, and a failed answer for each hole between them. A market that the
    exchange refuses is not asked again.

    Raises:
        SetupError: no space is left.
        OtherMarketError: another market answers than the one that feeds the lake.
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
    except BaseException:
        source.stop.set()  # a request that waits out a ban would keep the pool for an hour
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _parts(
    source: RestSource, tasks: Sequence[FetchTask], pool: ThreadPoolExecutor, refused: dict[str, str]
) -> Iterator[_Part]:
    for task in tasks:
        windows = _page_windows(source, task, refused)
        for place, window in enumerate(windows):
            is_refused = task.market.symbol in refused
            pages = None if is_refused else pool.submit(_usable_pages, source, task, window)
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


def _usable_pages(source: RestSource, task: FetchTask, window: Window) -> list[Page]:
    try:
        return _pages(source, task, window)
    except _GARBLED as error:
        what = f"{task.market.symbol} {task.timeframe or task.dataset} {window}"
        raise DataError(
            f"{what}: the answer cannot be used ({type(error).__name__}: {error}); run the same command again"
        ) from error


def _pages(source: RestSource, task: FetchTask, window: Window) -> list[Page]:
    """Ask until the window's end; a page that ends early is followed by one that starts after its last row."""
    pages, since, from_id = list[Page](), window.start, None
    while since < window.end:
        part = Window(since, window.end)
        page = source.client.page(task.dataset, task.market, timeframe=task.timeframe, window=part, from_id=from_id)
        pages.append(page)
        if page.next_since is None:
            break
        if page.next_since < since or (page.next_since == since and page.next_id in (None, from_id)):
            raise DataError(f"{page.response.url} gave only rows before its start; the exchange ignores startTime")
        since, from_id = page.next_since, page.next_id
    return pages


@dataclass(frozen=True)
class _Hole:
    """A range of a task without an answer, why, and the body that stayed unreadable there, if one did."""

    window: Window
    error: str
    unreadable: UnreadableBodyError | None


class _TaskWriter:
    """Writes one task's responses while its pages come in: a segment for each stretch without a failure."""

    def __init__(self, source: RestSource, task: FetchTask, refused: dict[str, str]) -> None:
        self._source = source
        self._task = task
        self._refused = refused
        self._answers: list[Answer] = []
        self._segment: Segment | None = None
        self._last: Response | None = None
        self._start = task.window.start
        self._hole: _Hole | None = None
        self._segments = self._bodies = 0

    def take(self, part: _Part) -> None:
        """Append the part's responses, or note its failure."""
        if part.pages is None:
            self._fail(part.window, self._refused[self._task.market.symbol], None)
            return
        try:
            pages = part.pages.result()
        except (SetupError, OtherMarketError):
            raise
        except MarketlakeError as error:
            if isinstance(error, MarketRefusedError):
                self._refused.setdefault(self._task.market.symbol, str(error))
            self._fail(part.window, str(error), error if isinstance(error, UnreadableBodyError) else None)
            return
        self._end_hole()
        for page in pages:
            self._append(page.response)

    def finish(self) -> list[Answer]:
        """Close the last segment or hole and return the answers in the order of their windows."""
        self._end_segment(self._task.window.end)
        self._end_hole()
        return self._answers

    def _append(self, response: Response) -> None:
        if self._segment is None:
            self._segments += 1
            self._segment = Segment(self._source.area, self._path("", self._segments))
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
        crash_point("fetch.page_landed")

    def _end_segment(self, end: datetime) -> None:
        if self._segment is None or self._last is None:
            return
        stored = self._segment.finish(
            {
                "url": self._last.url.split("?")[0],
                "source_ref": self._last.source_ref,
                "received_at": format_instant(self._last.received_at),
                "window": window_meta(Window(self._start, end)),
                "run_id": self._source.run_id,
                "task_id": self._task.task_id,
            }
        )
        self._answers.append(rest_answer(self._task, stored))
        self._segment = None

    def _fail(self, window: Window, error: str, unreadable: UnreadableBodyError | None) -> None:
        self._end_segment(window.start)
        if self._hole is None:
            self._hole = _Hole(window, error, unreadable)
        else:
            kept = self._hole.unreadable or unreadable
            self._hole = replace(self._hole, window=Window(self._hole.window.start, window.end), unreadable=kept)

    def _end_hole(self) -> None:
        hole = self._hole
        if hole is None:
            return
        files = () if hole.unreadable is None else (self._land_unreadable(hole.unreadable),)
        at = self._source.clock.now()
        self._answers.append(failed_answer(self._task, at, hole.error, window=hole.window, files=files))
        self._start, self._hole = hole.window.end, None

    def _land_unreadable(self, error: UnreadableBodyError) -> LandedFile:
        """Land the start of a body that stayed unreadable, so that the load can put it into the DLQ."""
        self._bodies += 1
        received_at = format_instant(error.received_at)
        line = {"url": error.url, "received_at": received_at, "body": error.body}
        with Segment(self._source.area, self._path(".unreadable", self._bodies)) as segment:
            segment.append(line)
            stored = segment.finish({"url": error.url, "received_at": received_at, "run_id": self._source.run_id})
        return LandedFile(
            path=stored.path,
            sha256=stored.sha256,
            bytes=stored.bytes,
            url=error.url,
            source_ref=error.url.split("?")[0],
            received_at=error.received_at,
            format="rest_unreadable",
        )

    def _path(self, part: str, number: int) -> str:
        return self._source.segment_path(self._task, part=part if number == 1 else f"{part}.{number}")
