"""What one market lacks: the wanted range, clipped to its life and to closed candles, minus what is settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from marketlake.datasets import Dataset
from marketlake.instants import Window, ceil_instant, floor_instant
from marketlake.ledger import Fact, Tile, covered_window, rejection_cause
from marketlake.ledger.facts import REVOKED, joined
from marketlake.timeframes import timeframe_length
from marketlake.work import Instrument

# Funding is paid at full hours and shows up a little later; an hour that is not over may still lack its event.
EVENTS_COMPLETE_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Life:
    """When a market can have rows: `[start, end)`, and why not before and after."""

    window: Window
    before: str
    after: str


@dataclass(frozen=True)
class Series:
    """One market at one timeframe (empty for events) on one exchange."""

    dataset: Dataset
    exchange: str
    instrument: Instrument
    timeframe: str

    @property
    def market(self) -> tuple[str, str, str, str]:
        """Dataset, exchange, symbol and timeframe, as the ledger names a series."""
        return self.dataset.name, self.exchange, self.instrument.symbol, self.timeframe

    @property
    def step(self) -> timedelta | None:
        """The length of a candle; None for events."""
        return timeframe_length(self.timeframe) if self.timeframe else None


@dataclass(frozen=True)
class Wanted:
    """What a run wants of a series. `new` was never asked for; `holes` are open tiles that it asks for again.

    `clipped` is the run's window as far as rows can exist and are closed, None where that is nothing; `facts` say where
    the window lies outside the market's life.
    """

    series: Series
    clipped: Window | None
    new: tuple[Window, ...] = ()
    holes: tuple[Tile, ...] = ()
    facts: tuple[Fact, ...] = ()

    @property
    def expected_rows(self) -> int | None:
        """Candles that the clipped window holds by the grid; None for events."""
        step = self.series.step
        if step is None:
            return None
        return self.clipped.length // step if self.clipped else 0


def life_of(series: Series, first_instant: datetime, now: datetime) -> Life | None:
    """Return when the series can have complete rows, as of `now`; None where it is not listed yet.

    Candles count once they are closed by the exchange's clock, events a while after their hour (ING-06).
    """
    listed, delisted = series.instrument.listed_at, series.instrument.delisted_at
    step = series.step
    start = max(first_instant, listed) if listed else first_instant
    start = floor_instant(start, step) if step else start
    complete = floor_instant(now, step or EVENTS_COMPLETE_AFTER)
    end = complete
    if delisted is not None:
        end = min(complete, ceil_instant(delisted, step) if step else delisted)
    if start >= end:
        return None
    before = "before_listing" if listed and listed > first_instant else "before_first_instant"
    return Life(Window(start, end), before, "after_delisting" if end < complete else "")


def want(
    series: Series,
    window: Window,
    *,
    life: Life | None,
    tiles: Sequence[Tile],
    waiting: Sequence[Window],
    now: datetime,
    asks_holes_at_once: bool,
) -> Wanted:
    """Return what the window lacks: never asked ranges, and open tiles that are due or, by hand, all of them.

    `tiles` are those that touch the window, `waiting` the windows that unloaded manifests hold answers for. A tile is
    cut to the window. Refused rows are not asked for again: they landed already.
    """
    covered = covered_window(window, series.timeframe)
    if covered is None or life is None:
        return Wanted(series, None)
    clipped = covered.overlap(life.window)
    facts = _outside(series, covered, life, tiles)
    if clipped is None:
        return Wanted(series, None, facts=facts)
    known = [*waiting, *(tile.window for tile in tiles)]
    holes = [
        cut
        for tile in tiles
        if not tile.is_settled and not tile.is_refused and (asks_holes_at_once or tile.is_due(now))
        for cut in cut_tile(tile, clipped, waiting)
    ]
    return Wanted(series, clipped, tuple(clipped.minus(known)), tuple(holes), facts)


def reopen(
    series: Series, tiles: Sequence[Tile], window: Window, *, rules_version: str
) -> tuple[list[Tile], tuple[Fact, ...]]:
    """Return the tiles without those in the window that other rules rejected for good, and the facts that revoke them.

    What was rejected stays so until rules change; then its source is asked again.
    """
    kept, facts = list[Tile](), list[Fact]()
    for tile in tiles:
        inside = tile.window.overlap(window)
        if inside is None or not _is_rejected_by_others(tile, rules_version):
            kept.append(tile)
            continue
        facts.append(Fact(*series.market, window=inside, state=REVOKED, cause="rules_changed"))
        kept += [replace(tile, window=rest) for rest in tile.window.minus([inside])]
    return kept, tuple(facts)


def cut_tile(tile: Tile, window: Window, without: Sequence[Window]) -> list[Tile]:
    """Return the parts of the tile inside the window and outside the others."""
    inside = tile.window.overlap(window)
    if inside is None:
        return []
    return [replace(tile, window=part) for part in inside.minus(list(without))]


def _is_rejected_by_others(tile: Tile, rules_version: str) -> bool:
    """Whether rules of another version settled it; a tile that names no version is left alone."""
    is_named = tile.cause.startswith(rejection_cause("") + " ")
    return tile.state == "rejected" and tile.is_settled and is_named and tile.cause != rejection_cause(rules_version)


def _outside(series: Series, covered: Window, life: Life, tiles: Sequence[Tile]) -> tuple[Fact, ...]:
    known = [tile.window for tile in tiles]
    facts = list[Fact]()
    if covered.start < life.window.start:
        before = Window(covered.start, min(covered.end, life.window.start))
        facts += [_not_listed(series, part, life.before) for part in before.minus(known)]
    if life.after and covered.end > life.window.end:
        after = Window(max(covered.start, life.window.end), covered.end)
        facts += [_not_listed(series, part, life.after) for part in after.minus(known)]
    return tuple(facts)


def _not_listed(series: Series, window: Window, cause: str) -> Fact:
    return Fact(*series.market, window=window, state="not_listed", cause=cause)


def with_look_back(
    series: Series, pieces: Sequence[Window], *, watermark: datetime | None, tiles: Sequence[Tile]
) -> list[Window]:
    """Return the REST pieces, the one that goes on from the high watermark begun one candle earlier (ING-05).

    Only where that earlier candle is present: it may have been restated since.
    """
    step = series.step
    if watermark is None or step is None or not series.dataset.look_back:
        return list(pieces)
    earlier = watermark - series.dataset.look_back * step
    is_present = any(tile.state == "present" and tile.window.start <= earlier < tile.window.end for tile in tiles)
    if not is_present:
        return list(pieces)
    return joined(Window(earlier, piece.end) if piece.start == watermark else piece for piece in pieces)
