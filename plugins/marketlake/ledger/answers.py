"""From one answer to the facts that tile its whole window, holes included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from marketlake.datasets import Dataset
from marketlake.instants import DAY, Window, ceil_instant, floor_instant
from marketlake.ledger.facts import ID_JUMP, REFUSED, RETRACTED, REVOKED, Fact, Tile, joined
from marketlake.ledger.outages import Outage
from marketlake.timeframes import timeframe_length
from marketlake.work import Answer

EVENT_STEP = timedelta(minutes=1)
FETCH_FAILED = "fetch_failed"
OMITTED = "omitted"


def facts_of_answer(
    answer: Answer,
    present: Sequence[Window],
    rejected: Sequence[Window],
    *,
    exchange: str,
    dataset: Dataset,
    now: datetime,
    missing: Sequence[Window] = (),
    calendar: Sequence[Outage] = (),
    omits_empty_candles: bool = False,
    attempts_before_unfillable: int = 3,
    rules_version: str = "",
) -> list[Fact]:
    """Return facts that tile the answer's window: one per contiguous range of one state.

    `present` and `rejected` are the ranges of accepted and of dead-letter rows, a candle's from open to close, an
    event's a minute; where both claim a range, it is present. In `missing` ranges the exchange's ids say that events
    were left out. `now` is the run's. A window off the candles' grid is
    taken as the candles that open in it. An absent archive says nothing about its market: no facts. `rules_version` is
    noted with rejected ranges, so that other rules open them again.
    """
    if answer.status == "absent":
        return []
    window = covered_window(answer.window, answer.timeframe)
    if window is None:
        return []
    maker = _Maker(answer, exchange, dataset.name, now, attempts_before_unfillable, rules_version)
    if answer.status != "answered":
        return [maker.fact(window, "failed", cause=FETCH_FAILED, retry_at=now)]
    bad = _inside(rejected, window)
    lost = _inside(missing, window)
    good = window.minus([*bad, *lost]) if dataset.grain == "event" else _inside(present, window)
    facts = [maker.fact(piece, "present") for piece in good]
    for hole in window.minus(good):
        facts += maker.hole(hole, bad, calendar, omits_empty_candles)
    return sorted(facts, key=lambda fact: fact.window)


def facts_of_refusal(
    answer: Answer, *, exchange: str, dataset: Dataset, now: datetime, cause: str = REFUSED
) -> list[Fact]:
    """Return the `failed` fact of an answer whose market or manifest was refused, or whose load raised.

    Refused rows are judged again on request and not fetched; with any other cause the range is due at `now`, the run's.
    An answer that failed brought nothing that could be refused: its range stays due.
    """
    window = covered_window(answer.window, answer.timeframe)
    if window is None or answer.status == "absent":
        return []
    if answer.status != "answered":
        cause = FETCH_FAILED
    market = (dataset.name, exchange, answer.market.symbol, answer.timeframe)
    retry_at = None if cause == REFUSED else now
    return [Fact(*market, window=window, state="failed", source=answer.source, cause=cause, retry_at=retry_at)]


def facts_of_retraction(
    windows: Sequence[Window], *, exchange: str, dataset: Dataset, symbol: str, timeframe: str, source: str
) -> list[Fact]:
    """Return the facts of keys that their best source retracted: revoked, then unfillable at once."""
    market = (dataset.name, exchange, symbol, timeframe)
    facts = list[Fact]()
    for window in joined(windows):
        facts.append(Fact(*market, window=window, state=REVOKED, source=source, cause=RETRACTED))
        facts.append(Fact(*market, window=window, state="unfillable", source=source, cause=RETRACTED))
    return facts


def facts_of_id_jump(
    tile: Tile, window: Window, market: tuple[str, str, str, str], *, now: datetime, settles_after: int
) -> list[Fact]:
    """Return the facts of the part of a tile that was taken for complete until a later load's ids told otherwise.

    It is revoked and open again, as if its source had answered today.
    """
    retry_at = floor_instant(now, DAY) + DAY
    return [
        Fact(*market, window=window, state=REVOKED, source=tile.source, cause=ID_JUMP),
        Fact(*market, window, "pending", tile.source, OMITTED, now.date(), retry_at, settles_after),
    ]


def rejection_cause(rules_version: str) -> str:
    """Return the cause of a range that rules of this version rejected."""
    return f"rules {rules_version}".rstrip()


def covered_window(window: Window, timeframe: str) -> Window | None:
    """Return the range of the candles that open in the window, None where there are none; for events the window."""
    if not timeframe:
        return window
    step = timeframe_length(timeframe)
    start, end = ceil_instant(window.start, step), ceil_instant(window.end, step)
    return Window(start, end) if start < end else None


class _Maker:
    """Makes the facts of one answer."""

    def __init__(
        self, answer: Answer, exchange: str, dataset: str, now: datetime, settles_after: int, rules_version: str
    ) -> None:
        self._answer = answer
        self._market = (dataset, exchange, answer.market.symbol, answer.timeframe)
        self._now = now
        self._settles_after = settles_after
        self._rejected_by = rejection_cause(rules_version)
        self._step = timeframe_length(answer.timeframe) if answer.timeframe else EVENT_STEP

    def fact(
        self,
        window: Window,
        state: str,
        *,
        cause: str = "",
        retry_at: datetime | None = None,
        is_attempt: bool = False,
    ) -> Fact:
        return Fact(
            *self._market,
            window=window,
            state=state,
            source=self._answer.source,
            cause=cause,
            attempt_day=self._now.date() if is_attempt else None,
            retry_at=retry_at,
            settles_after=self._settles_after,
        )

    def hole(
        self, hole: Window, rejected: Sequence[Window], calendar: Sequence[Outage], omits_empty_candles: bool
    ) -> Iterator[Fact]:
        """Yield the facts of a range without accepted rows: why it has none, as far as that is known."""
        left = [hole]
        next_day = floor_instant(self._now, DAY) + DAY
        for piece in _take(left, rejected):
            yield self.fact(piece, "rejected", cause=self._rejected_by, retry_at=next_day, is_attempt=True)
        for piece in _take(left, self._unlisted(hole)):
            yield self.fact(piece, "not_listed", cause="not_listed")
        for piece in _take(left, self._outages(calendar)):
            yield self.fact(piece, "exchange_down", cause="calendar")
        for piece in _take(left, self._unclosed(hole)):
            yield self.fact(piece, "pending", cause="not_closed", retry_at=max(piece.end, self._now))
        for piece in left:
            if omits_empty_candles:
                yield self.fact(piece, "no_trades", cause=OMITTED)
            else:
                yield self.fact(piece, "pending", cause=OMITTED, retry_at=next_day, is_attempt=True)

    def _outages(self, calendar: Sequence[Outage]) -> list[Window]:
        """Only candles that lie wholly inside an outage are explained by it."""
        inner = (
            (ceil_instant(outage.window.start, self._step), floor_instant(outage.window.end, self._step))
            for outage in calendar
            if outage.fits(self._market[1], self._answer.market)
        )
        return joined(Window(start, end) for start, end in inner if start < end)

    def _unlisted(self, hole: Window) -> list[Window]:
        listed, delisted = self._answer.market.listed_at, self._answer.market.delisted_at
        windows = []
        if listed is not None and (end := floor_instant(listed, self._step)) > hole.start:
            windows.append(Window(hole.start, end))
        if delisted is not None and (start := ceil_instant(delisted, self._step)) < hole.end:
            windows.append(Window(start, hole.end))
        return joined(windows)

    def _unclosed(self, hole: Window) -> list[Window]:
        closed_until = floor_instant(self._now, self._step)
        return [Window(max(hole.start, closed_until), hole.end)] if closed_until < hole.end else []


def _take(left: list[Window], wanted: Sequence[Window]) -> list[Window]:
    """Cut the wanted windows out of `left`, in place, and return what was cut."""
    taken = [both for window in wanted for piece in left if (both := piece.overlap(window))]
    left[:] = [rest for piece in left for rest in piece.minus(taken)]
    return taken


def _inside(windows: Sequence[Window], around: Window) -> list[Window]:
    return joined(both for window in windows if (both := window.overlap(around)))
