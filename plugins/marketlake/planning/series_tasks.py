"""The fetch tasks of one series: what is missing, or on request the whole window; holes; look-back; re-issues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import psycopg

from marketlake.datasets import TRADES
from marketlake.errors import UsageError, one_of
from marketlake.exchanges.registry import exchange_named
from marketlake.instants import Window, ceil_instant, floor_instant, format_instant, parse_instant
from marketlake.ledger import (
    ArchiveFile,
    Fact,
    Run,
    Tile,
    answered_windows,
    archives_of,
    coverage_of,
    covered_window,
    high_watermark,
    open_tiles,
)
from marketlake.ledger.facts import joined
from marketlake.planning.sources import ArchivePart, Archives, rest_windows
from marketlake.planning.unfinished import Unfinished, answered_by
from marketlake.planning.wanted import Life, Series, Wanted, cut_tile, life_of, reopen, want, with_look_back
from marketlake.rules import rules_for
from marketlake.settings import Settings
from marketlake.work import FetchTask, hash_id

_DEFAULT_PAGE_ROWS = 1000


@dataclass(frozen=True)
class PlanContext:
    """What the planning of every series of a run needs."""

    connection: psycopg.Connection
    run: Run
    settings: Settings
    mode: str
    source: str | None
    holes: str
    checks_reissued: bool
    unfinished: Unfinished


def plan_series(context: PlanContext, series: Series) -> tuple[Wanted, list[FetchTask]]:
    """Return what the run wants of one series and the tasks that fetch it; reads the ledger only."""
    first = parse_instant(context.settings.exchanges[series.exchange].first_instant, what="first_instant")
    life = life_of(series, first, context.run.now)
    watermark = high_watermark(context.connection, *series.market)
    window = _window(context.run, watermark or first, life)
    if window is None:
        return Wanted(series, None), []
    archives = Archives(
        series,
        exchange_named(series.exchange).archives,
        partial(_known_archives, context, series),
        context.run.now,
        life.window if life else window,
    )
    if context.source is not None or context.mode == "force":
        wanted, tasks = _plan_whole_window(context, series, window, life, archives)
    else:
        wanted, tasks = _plan_what_is_missing(context, series, window, life, archives, watermark)
    if context.checks_reissued:
        tasks += _reissue_tasks(context, archives, window, tasks)
    return wanted, tasks


def _known_archives(context: PlanContext, series: Series, window: Window) -> dict[str, ArchiveFile]:
    """Return what the ledger knows of the archives of a range, by path."""
    known = archives_of(
        context.connection,
        series.exchange,
        series.dataset.name,
        symbol=series.instrument.symbol,
        timeframe=series.timeframe,
        window=window,
    )
    return {file.path: file for file in known}


def _window(run: Run, start: datetime, life: Life | None) -> Window | None:
    if run.window is not None:
        return run.window
    return Window(start, life.window.end) if life and start < life.window.end else None


def _plan_whole_window(
    context: PlanContext, series: Series, window: Window, life: Life | None, archives: Archives
) -> tuple[Wanted, list[FetchTask]]:
    wanted = want(series, window, life=life, tiles=(), waiting=(), now=context.run.now, asks_holes_at_once=True)
    wanted = replace(wanted, facts=())
    if wanted.clipped is None:
        return wanted, []
    if context.source is not None:
        _check_source(series, context.source)
    reason = "source" if context.source else "force"
    if context.source == "archive":
        parts, rest = archives.over(wanted.clipped), list[Window]()
    elif context.source == "rest":
        parts, rest = [], [wanted.clipped]
    else:
        parts, rest = archives.split([wanted.clipped])
    ranges = _rest_windows(series, rest)
    return wanted, _tasks(context, series, parts, ranges, reason=reason, may_fall_back=context.source is None)


def _plan_what_is_missing(
    context: PlanContext,
    series: Series,
    window: Window,
    life: Life | None,
    archives: Archives,
    watermark: datetime | None,
) -> tuple[Wanted, list[FetchTask]]:
    covered = covered_window(window, series.timeframe)
    tiles = coverage_of(context.connection, *series.market, window=covered) if covered else []
    dataset, exchange, symbol, timeframe = series.market
    waiting = answered_windows(context.connection, dataset, exchange, symbol=symbol, timeframe=timeframe)
    waiting += answered_by(context.unfinished.sealed, series.market)
    revoked: tuple[Fact, ...] = ()
    if covered is not None:
        version = rules_for(series.dataset, context.settings.quality).version
        tiles, revoked = reopen(series, tiles, covered, rules_version=version)
    wanted = want(
        series,
        window,
        life=life,
        tiles=tiles,
        waiting=waiting,
        now=context.run.now,
        asks_holes_at_once=context.holes == "all",
    )
    wanted = replace(wanted, facts=(*revoked, *wanted.facts))
    if context.holes == "due":
        wanted = replace(wanted, holes=(*_earlier_holes(context, series, window, waiting), *wanted.holes))
    parts, rest = archives.split(list(wanted.new))
    hole_parts, hole_rest = archives.split_holes(wanted.holes)
    earlier = _tiles_before(context, series, watermark)
    rest = with_look_back(series, rest, watermark=watermark, tiles=earlier)
    tasks = _tasks(context, series, parts, [], reason="new")
    tasks += _tasks(context, series, hole_parts, [], reason="hole")
    ranges = _rest_windows(series, [*rest, *hole_rest])
    for piece in ranges:
        is_new = any(piece.overlap(new) for new in rest)
        tasks += _tasks(context, series, [], [piece], reason="new" if is_new else "hole")
    return wanted, [*tasks, *_rebuild_tasks(context, series, wanted.holes)]


def _rebuild_tasks(context: PlanContext, series: Series, holes: Sequence[Tile]) -> list[FetchTask]:
    """Rebuild holes that a source has answered without, as far as the market's trades cover their candles (QUA-24)."""
    step = series.step
    asked = [hole.window for hole in holes if hole.attempts]
    if step is None or not asked:
        return []
    market = (TRADES.name, series.exchange, series.instrument.symbol, "")
    around = Window(min(window.start for window in asked), max(window.end for window in asked))
    traded = joined(t.window for t in coverage_of(context.connection, *market, window=around) if t.state == "present")
    tasks = list[FetchTask]()
    for cover in traded:
        start, end = ceil_instant(cover.start, step), floor_instant(cover.end, step)
        pieces = [both for window in joined(asked) if start < end and (both := window.overlap(Window(start, end)))]
        tasks += _tasks(context, series, [], _rest_windows(series, pieces), reason="hole", channel="rebuilt")
    return tasks


def _earlier_holes(context: PlanContext, series: Series, window: Window, waiting: Sequence[Window]) -> list[Tile]:
    tiles = open_tiles(context.connection, *series.market, before=window.start)
    return [
        cut
        for tile in tiles
        if tile.window.start < window.start and not tile.is_refused and tile.is_due(context.run.now)
        for cut in cut_tile(tile, Window(tile.window.start, min(tile.window.end, window.start)), waiting)
    ]


def _tiles_before(context: PlanContext, series: Series, watermark: datetime | None) -> list[Tile]:
    if watermark is None or series.step is None or not series.dataset.look_back:
        return []
    return coverage_of(context.connection, *series.market, window=Window(watermark - series.step, watermark))


def _reissue_tasks(
    context: PlanContext, archives: Archives, window: Window, others: Sequence[FetchTask]
) -> list[FetchTask]:
    """The loaded archives of the window, asked whether they were replaced (ING-14)."""
    asked = {task.archive_path for task in others}
    tasks = list[FetchTask]()
    for file in archives.find(window).values():
        period = Window(file.period_start, file.period_end)
        span = period.overlap(archives.life)
        if file.loaded_sha256 is None or file.path in asked or span is None or not period.overlap(window):
            continue
        part = ArchivePart(span, file.path, "")
        tasks += _tasks(context, archives.series, [part], [], reason="reissue", may_fall_back=False)
    return tasks


def _tasks(
    context: PlanContext,
    series: Series,
    parts: Sequence[ArchivePart],
    rest: Sequence[Window],
    *,
    reason: str,
    may_fall_back: bool = True,
    channel: str = "rest",
) -> list[FetchTask]:
    """Return a task for each archive part and for each range that a channel without files serves."""
    pieces: list[tuple[str, Window, str | None]] = [("archive", part.window, part.path) for part in parts]
    pieces += [(channel, window, None) for window in rest]
    return [
        FetchTask(
            task_id=_task_id(context.run, series, source, window, path, reason),
            run_id=context.run.run_id,
            exchange=series.exchange,
            dataset=series.dataset.name,
            market=series.instrument.market,
            timeframe=series.timeframe,
            source=source,
            window=window,
            archive_path=path,
            reason=reason,
            may_fall_back=may_fall_back and source == "archive",
        )
        for source, window, path in pieces
    ]


def _task_id(run: Run, series: Series, source: str, window: Window, path: str | None, reason: str) -> str:
    bounds = (format_instant(window.start), format_instant(window.end))
    # A run that begins anew asks anew: what its earlier pass landed is no answer to a task of today.
    return hash_id(*series.market, source, *bounds, path or "", reason, format_instant(run.now))[:16]


def _check_source(series: Series, source: str) -> None:
    offered = exchange_named(series.exchange).capabilities.sources[series.dataset.name]
    if source not in offered:
        raise UsageError(one_of(f"the source of {series.dataset.name} at {series.exchange}", source, offered))


def _rest_windows(series: Series, windows: Sequence[Window]) -> list[Window]:
    longest = series.dataset.longest_rest_range
    return rest_windows(windows, step=series.step, page_rows=_page_rows(series), longest=longest)


def _page_rows(series: Series) -> int:
    capabilities = exchange_named(series.exchange).capabilities
    return capabilities.page_rows.get((series.dataset.name, series.instrument.market_type), _DEFAULT_PAGE_ROWS)
