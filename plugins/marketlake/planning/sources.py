"""Which source serves which part of a range, the cheapest first: monthly archive, daily archive, REST (ING-17)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from marketlake.exchanges.protocol import ArchiveLayout
from marketlake.instants import DAY, Window, floor_instant
from marketlake.ledger import ArchiveFile, Tile
from marketlake.ledger.facts import joined
from marketlake.planning.wanted import Series

MONTHLY, DAILY = "monthly", "daily"
# How long after its period an archive may still be missing: Binance publishes days on the next day and months on the
# first Monday of the next month. Asked earlier it would only be absent.
PUBLISHED_AFTER = {DAILY: DAY, MONTHLY: timedelta(days=7)}
# An archive that was absent, whose checksum was wrong, or that is damaged or held is asked for again after this long.
NOT_TO_BE_HAD = ("absent", "checksum_mismatch", "downloaded")
ASK_AGAIN_AFTER = DAY
# REST ranges are cut here, so that a failure in the middle of years does not cost all of them.
MOST_PAGES_OF_A_TASK = 100


@dataclass(frozen=True)
class ArchivePart:
    """A part of a range that an archive serves."""

    window: Window
    path: str
    period: str


@dataclass(frozen=True)
class Archives:
    """The archives of one series: where they lie, when the run asks; `find` tells which of a range are known."""

    series: Series
    layout: ArchiveLayout | None
    find: Callable[[Window], Mapping[str, ArchiveFile]]
    now: datetime
    life: Window

    def split(self, windows: Sequence[Window]) -> tuple[list[ArchivePart], list[Window]]:
        """Return whole months and days that archives can serve, and the rest; a month counts from listing on."""
        parts, rest = list[ArchivePart](), joined(windows)
        known = self._known(rest)
        for period in self._periods():
            left = list[Window]()
            for window in rest:
                for span in periods_of(window, period):
                    piece = window.overlap(span)
                    if piece is None:
                        continue
                    path = self.path(period, span)
                    if piece == span.overlap(self.life) and self._is_askable(path, span, period, known):
                        parts.append(ArchivePart(piece, path, period))
                    else:
                        left.append(piece)
            rest = joined(left)
        return parts, rest

    def split_holes(self, holes: Sequence[Tile]) -> tuple[list[ArchivePart], list[Window]]:
        """Return the archive parts and the rest of holes that are asked for again (QUA-24).

        Whole months and days go as in `split`. A smaller hole goes to its day's archive unless that has answered for it
        already; the part runs from the first to the last hole of its day.
        """
        asked = joined(hole.window for hole in holes if _has_answered(hole))
        parts, rest = self.split([hole.window for hole in holes if not _has_answered(hole)])
        rest += asked
        if DAILY not in self._periods():
            return parts, joined(rest)
        by_day: dict[Window, list[Window]] = {}
        known = self._known(rest)
        left = list[Window]()
        for window in joined(rest):
            for day in periods_of(window, DAILY):
                piece = window.overlap(day)
                if piece is None:
                    continue
                is_askable = self._is_askable(self.path(DAILY, day), day, DAILY, known)
                if is_askable and not any(piece.overlap(other) for other in asked):
                    by_day.setdefault(day, []).append(piece)
                else:
                    left.append(piece)
        for day, pieces in by_day.items():
            hull = Window(pieces[0].start, pieces[-1].end)
            parts.append(ArchivePart(hull, self.path(DAILY, day), DAILY))
        return parts, joined(left)

    def over(self, window: Window) -> list[ArchivePart]:
        """Return the archives that cover the window whether or not anything is known of them: months where they fit."""
        rest, parts = [window], list[ArchivePart]()
        periods = self._periods()
        for period in periods:
            left = list[Window]()
            for piece in rest:
                for span in periods_of(piece, period):
                    inside = piece.overlap(span)
                    if inside is None:
                        continue
                    if span.end > self.now or (period != periods[-1] and inside != span.overlap(self.life)):
                        left.append(inside)
                    else:
                        parts.append(ArchivePart(inside, self.path(period, span), period))
            rest = joined(left)
        return parts

    def path(self, period: str, span: Window) -> str:
        """Return the path of the archive of a month or day."""
        if self.layout is None:
            raise RuntimeError(f"{self.series.exchange} has no archives")
        return self.layout.path(
            self.series.dataset.name,
            self.series.instrument.market,
            timeframe=self.series.timeframe,
            period=period,
            start=span.start,
        )

    def _periods(self) -> tuple[str, ...]:
        return self.layout.periods(self.series.dataset.name) if self.layout else ()

    def _known(self, windows: Sequence[Window]) -> Mapping[str, ArchiveFile]:
        if self.layout is None or not windows:
            return {}
        return self.find(Window(min(item.start for item in windows), max(item.end for item in windows)))

    def _is_askable(self, path: str, span: Window, period: str, known: Mapping[str, ArchiveFile]) -> bool:
        if self.now < span.end + PUBLISHED_AFTER[period]:
            return False
        file = known.get(path)
        if file is None or file.status not in NOT_TO_BE_HAD or file.checked_at is None:
            return True
        return file.checked_at + ASK_AGAIN_AFTER <= self.now


def periods_of(window: Window, period: str) -> list[Window]:
    """Return the UTC months or days that overlap the window, in order."""
    spans = list[Window]()
    at = _floor(window.start, period)
    while at < window.end:
        following = _floor(at + timedelta(days=31 if period == MONTHLY else 1), period)
        spans.append(Window(at, following))
        at = following
    return spans


def rest_windows(
    windows: Sequence[Window], *, step: timedelta | None, page_rows: int, longest: timedelta | None = None
) -> list[Window]:
    """Return REST ranges with as few requests as possible, in order, those of events at most `longest`.

    Neighbours are read as one range where that takes no more pages than reading each; long ranges are cut into tasks.
    """
    whole = joined(windows)
    if step is None:
        return [part for window in whole for part in ([window] if longest is None else _cut(window, longest))]
    page = step * page_rows
    grouped = list[Window]()
    for window in whole:
        if grouped:
            both = Window(grouped[-1].start, window.end)
            if _pages(both, page) <= _pages(grouped[-1], page) + _pages(window, page):
                grouped[-1] = both
                continue
        grouped.append(window)
    return [part for window in grouped for part in _cut(window, page * MOST_PAGES_OF_A_TASK)]


def _has_answered(hole: Tile) -> bool:
    """Whether an archive answered without the rows; one that failed or was absent has not."""
    return hole.source == "archive" and hole.state != "failed"


def _pages(window: Window, page: timedelta) -> int:
    return -(-window.length // page)


def _cut(window: Window, longest: timedelta) -> list[Window]:
    parts, at = list[Window](), window.start
    while at < window.end:
        parts.append(Window(at, min(at + longest, window.end)))
        at = parts[-1].end
    return parts


def _floor(instant: datetime, period: str) -> datetime:
    day = floor_instant(instant, DAY)
    return day.replace(day=1) if period == MONTHLY else day
