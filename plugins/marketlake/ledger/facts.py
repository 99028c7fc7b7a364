"""Coverage as pure functions: what an answer says about its window, and how facts become tiles (design, rule 4).

A fact is what one source said about one range; a tile is what is known about it now. Nothing here knows a database.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import pairwise

from marketlake.datasets import SOURCE_PRECEDENCE
from marketlake.instants import Window

REVOKED = "revoked"
RETRACTED = "retracted"
REFUSED = "refused"
ATTEMPTS = "attempts"
RESET = "reset"
RESTORED = "restored"
ID_JUMP = "id_jump"
REVOKE_CAUSES = ("reissued", RESTORED, RETRACTED, "rules_changed", RESET, ID_JUMP)
ABSENCES = ("not_listed", "exchange_down", "no_trades", "unfillable")
RANKS = {"failed": 0, "pending": 1, "rejected": 2, **dict.fromkeys(ABSENCES, 3), "present": 4}
# What a person calls a gap: candles that should be there and are not.
HOLES = ("pending", "rejected", "exchange_down", "unfillable")


@dataclass(frozen=True)
class Fact:
    """What a source said about a range of one market; `timeframe` is empty for events.

    `attempt_day` is the UTC day of the answer on the run's clock, None where it does not count as an attempt. After
    `settles_after` such days a hole is settled. `retry_at` is when a scheduled run asks again.
    """

    dataset: str
    exchange: str
    symbol: str
    timeframe: str
    window: Window
    state: str
    source: str = ""
    cause: str = ""
    attempt_day: date | None = None
    retry_at: datetime | None = None
    settles_after: int = 3

    def __post_init__(self) -> None:
        if self.state != REVOKED and self.state not in RANKS:
            raise ValueError(f"no coverage state is called {self.state!r}")
        if self.state == REVOKED and self.cause not in REVOKE_CAUSES:
            raise ValueError(f"a revoked fact needs a cause of {', '.join(REVOKE_CAUSES)}; was {self.cause!r}")

    @property
    def market(self) -> tuple[str, str, str, str]:
        """Dataset, exchange, symbol and timeframe: the series that the fact is about."""
        return self.dataset, self.exchange, self.symbol, self.timeframe


@dataclass(frozen=True)
class Tile:
    """What is known about a range now. `load_id` is one of the loads that say so and plays no part in
    equality."""

    window: Window
    state: str
    source: str = ""
    cause: str = ""
    attempt_days: tuple[date, ...] = ()
    retry_at: datetime | None = None
    load_id: str | None = field(default=None, compare=False)

    @property
    def attempts(self) -> int:
        """On how many days a source answered without the rows."""
        return len(self.attempt_days)

    @property
    def is_settled(self) -> bool:
        """Whether nobody asks for the range again unless told to."""
        return RANKS[self.state] >= RANKS["not_listed"] or (self.state == "rejected" and self.retry_at is None)

    @property
    def is_refused(self) -> bool:
        """Whether its rows landed but were refused: they are judged again on request, not fetched."""
        return self.state == "failed" and self.cause == REFUSED

    def is_due(self, now: datetime) -> bool:
        """Return whether a scheduled run asks for the range at this instant."""
        return not self.is_settled and self.retry_at is not None and self.retry_at <= now


def merge(tiles: Sequence[Tile], facts: Sequence[Fact], *, load_id: str | None = None) -> list[Tile]:
    """Return the tiles after the facts of one market, applied in their order; without overlaps, neighbours joined.

    A lower rank replaces a higher one only after a `revoked` fact; among facts of equal rank the order is nothing.
    """
    merged = list[Tile]()
    for window, tile, covering in _pieces(tiles, facts):
        for fact in covering:
            tile = _combine(tile, fact, load_id)
        if tile is not None:
            _append(merged, replace(tile, window=window))
    return merged


def settled_until(tiles: Sequence[Tile], start: datetime) -> datetime:
    """Return the end of the settled range that holds `start` without a break; `start` itself where there is none."""
    reached = start
    for tile in sorted(tiles, key=lambda tile: tile.window):
        if tile.window.end <= reached:
            continue
        if tile.window.start > reached or not tile.is_settled:
            break
        reached = tile.window.end
    return reached


def gaps_found_and_filled(before: Sequence[Tile], after: Sequence[Tile]) -> tuple[list[Window], list[Window]]:
    """Return the ranges that became holes and the holes that became present between two states of one market."""
    holes_before = [tile.window for tile in before if tile.state in HOLES]
    found = [
        piece for tile in after if tile.state in HOLES for piece in tile.window.minus(_near(holes_before, tile.window))
    ]
    present = [tile.window for tile in after if tile.state == "present"]
    filled = [both for hole in holes_before for window in _near(present, hole) if (both := hole.overlap(window))]
    return joined(found), joined(filled)


def joined(windows: Iterable[Window]) -> list[Window]:
    """Return the windows in order, touching and overlapping ones made one."""
    result = list[Window]()
    for window in sorted(windows):
        if result and window.start <= result[-1].end:
            result[-1] = Window(result[-1].start, max(result[-1].end, window.end))
        else:
            result.append(window)
    return result


def source_rank(source: str) -> int:
    """Return the place of a source in the precedence, 0 for the best; unknown ones and none rank last."""
    return SOURCE_PRECEDENCE.index(source) if source in SOURCE_PRECEDENCE else len(SOURCE_PRECEDENCE)


def _pieces(tiles: Sequence[Tile], facts: Sequence[Fact]) -> Iterable[tuple[Window, Tile | None, list[Fact]]]:
    """Cut the time line at every bound and yield each piece with its tile and its facts in their order."""
    opening: dict[datetime, list[int]] = {}
    closing: dict[datetime, list[int]] = {}
    for index, fact in enumerate(facts):
        opening.setdefault(fact.window.start, []).append(index)
        closing.setdefault(fact.window.end, []).append(index)
    tile_at = {tile.window.start: tile for tile in tiles}
    bounds = sorted({*opening, *closing, *tile_at, *(tile.window.end for tile in tiles)})
    active, tile = set[int](), None
    for start, end in pairwise(bounds):
        active.difference_update(closing.get(start, ()))
        active.update(opening.get(start, ()))
        if tile is not None and tile.window.end <= start:
            tile = None
        tile = tile_at.get(start, tile)
        yield Window(start, end), tile, [facts[index] for index in sorted(active)]


def _append(merged: list[Tile], tile: Tile) -> None:
    if merged and merged[-1].window.end == tile.window.start:
        last = merged[-1]
        if replace(last, window=tile.window) == tile:
            merged[-1] = replace(tile, window=Window(last.window.start, tile.window.end))
            return
    merged.append(tile)


def _combine(tile: Tile | None, fact: Fact, load_id: str | None) -> Tile | None:
    if fact.state == REVOKED:
        return None
    days = (fact.attempt_day,) if fact.attempt_day else ()
    new = Tile(fact.window, fact.state, fact.source, fact.cause, days, fact.retry_at, load_id)
    if tile is None:
        return _settle(new, fact.settles_after)
    if _keeps_its_retraction(tile, new):
        return tile
    winner = min((tile, new), key=_strength)
    retries = [item.retry_at for item in (tile, new) if item.retry_at and item.state == winner.state]
    if winner.state in ("pending", "rejected") or winner.cause == ATTEMPTS:
        all_days = tuple(sorted({*tile.attempt_days, *new.attempt_days}))
        is_closed = any(item.retry_at is None for item in (tile, new) if item.state == winner.state)
        winner = replace(winner, attempt_days=all_days, retry_at=None if is_closed else max(retries))
    if winner.cause == ATTEMPTS:
        winner = replace(winner, source=min(tile.source, new.source, key=source_rank))
    if winner.state == "failed" and not winner.is_refused:
        winner = replace(winner, retry_at=max(retries, default=None))
    return _settle(winner, fact.settles_after)


def _settle(tile: Tile, after: int) -> Tile:
    if tile.state == "pending" and tile.attempts >= after:
        return replace(tile, state="unfillable", cause=ATTEMPTS, retry_at=None)
    if tile.state == "rejected" and tile.attempts >= after:
        return replace(tile, retry_at=None)
    return tile


def _keeps_its_retraction(tile: Tile, new: Tile) -> bool:
    is_retracted = tile.state == "unfillable" and tile.cause == RETRACTED
    return is_retracted and new.state == "present" and source_rank(new.source) > source_rank(tile.source)


def _strength(tile: Tile) -> tuple[int, int, int, bool, str]:
    """Order tiles, the strongest first: rank, certainty among absences, source, and then anything that is stable."""
    absence = ABSENCES.index(tile.state) if tile.state in ABSENCES else 0
    certainty = -1 if tile.cause == RETRACTED else absence
    return -RANKS[tile.state], certainty, source_rank(tile.source), tile.cause != REFUSED, tile.cause


def _near(windows: Sequence[Window], around: Window) -> list[Window]:
    # Windows are disjoint and in order, so those that touch `around` are neighbours.
    first = max(0, bisect_left(windows, around) - 1)
    near = list[Window]()
    for window in windows[first:]:
        if window.start >= around.end:
            break
        near.append(window)
    return near
