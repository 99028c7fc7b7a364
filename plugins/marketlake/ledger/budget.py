"""The request budget: one row per exchange and scope, drawn from by all processes (ING-28).

Windows are minutes of the machine that draws, not of the clock that a run follows: an exchange counts real minutes even
where its announced time stands still. A draw holds the row's lock, so two processes can never spend the same weight.

The exchange's own count is over when its minute is, at a second that is not ours. While it leaves no room, one request
every few seconds asks for it again; all others wait.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row

from marketlake.errors import UnavailableError, closed_source
from marketlake.instants import Clock, OffsetClock

# Until the exchange's own figure is known; no exchange here allows less.
LIMIT_BEFORE_PUBLISHED = 1_200
_MINUTE = timedelta(minutes=1)
# Wait a little longer than to the full minute: the clock by which the exchange counts is not exactly ours.
_MARGIN_SECONDS = 0.25
# How often a request goes through that may find the exchange's next minute begun, from the share of the limit that the
# ceiling leaves free.
_ASK_AGAIN = timedelta(seconds=2)
_INSERT = (
    "insert into ops.request_budget (exchange, scope, window_start, limit_weight) values (%s, %s, %s, %s)"
    " on conflict do nothing"
)


@dataclass(frozen=True)
class BudgetRow:
    """One row of `ops.request_budget`; weights are per minute, instants on the drawing machine's clock, UTC."""

    exchange: str
    scope: str
    window_start: datetime
    used_weight: int
    limit_weight: int
    blocked_until: datetime | None
    reason: str | None


def draw(
    connection: psycopg.Connection,
    exchange: str,
    scope: str,
    weight: int,
    ceiling: float,
    *,
    now: datetime | None = None,
) -> float:
    """Take the weight from the running minute and return 0, or take nothing and return the seconds to wait.

    It has to fit into what was drawn here in this minute, and into what the exchange last said of its own. `ceiling` is
    the share of the published limit that may be used (0.8), `now` the machine's time. A request heavier than that goes
    through alone, in a minute of its own.

    Raises:
        UnavailableError: the source refused somebody here and is closed for now.
    """
    now = now or OffsetClock().now()
    minute = now.replace(second=0, microsecond=0)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(_INSERT, [exchange, scope, minute, LIMIT_BEFORE_PUBLISHED])
        row = cursor.execute(
            "select window_start, used_weight, limit_weight, blocked_until, is_closed, reason, reported_weight,"
            " reported_at from ops.request_budget where exchange = %s and scope = %s for update",
            [exchange, scope],
        ).fetchone()
        if row is None:
            raise RuntimeError(f"the budget row of {exchange} {scope} vanished")
        window_start, used, limit, blocked_until, is_closed, reason, reported, reported_at = row
        if blocked_until is not None and blocked_until > now:
            left = float((blocked_until - now).total_seconds())
            if is_closed:
                raise UnavailableError(closed_source(f"{exchange} {scope}", left, reason or "none"))
            return left
        if window_start != minute and not _is_slightly_ahead(window_start, minute):
            window_start, used = minute, 0
        if used and used + weight > int(limit * ceiling):
            return float((window_start + _MINUTE - now).total_seconds()) + _MARGIN_SECONDS
        if reported and reported + weight > int(limit * ceiling):
            # Never beyond the limit itself: then its minute has to be over for sure.
            pause = _ASK_AGAIN if reported + weight <= limit else _MINUTE
            if timedelta(0) <= now - reported_at < pause:
                return float((reported_at + pause - now).total_seconds()) + _MARGIN_SECONDS
            reported_at = now
            if pause == _MINUTE:
                reported = 0
        cursor.execute(
            "update ops.request_budget set window_start = %s, used_weight = %s, reported_weight = %s, reported_at = %s,"
            " updated_at = clock_timestamp() where exchange = %s and scope = %s",
            [window_start, used + weight, reported + weight if reported else 0, reported_at, exchange, scope],
        )
    return 0.0


def report_used(
    connection: psycopg.Connection,
    exchange: str,
    scope: str,
    used: int,
    limit: int | None = None,
    *,
    now: datetime | None = None,
) -> None:
    """Take over the weight that the exchange says was used in its running minute, and its limit if given."""
    now = now or OffsetClock().now()
    connection.execute(
        _INSERT, [exchange, scope, now.replace(second=0, microsecond=0), limit or LIMIT_BEFORE_PUBLISHED]
    )
    connection.execute(
        "update ops.request_budget set reported_weight = %s, reported_at = %s,"
        " limit_weight = coalesce(%s, limit_weight), updated_at = clock_timestamp() where exchange = %s and scope = %s",
        [used, now, limit, exchange, scope],
    )


def set_limit(connection: psycopg.Connection, exchange: str, scope: str, limit: int) -> None:
    """Take over the weight per minute that the exchange publishes."""
    minute = OffsetClock().now().replace(second=0, microsecond=0) - _MINUTE
    connection.execute(_INSERT, [exchange, scope, minute, limit])
    connection.execute(
        "update ops.request_budget set limit_weight = %s where exchange = %s and scope = %s and limit_weight <> %s",
        [limit, exchange, scope, limit],
    )


def block_until(
    connection: psycopg.Connection,
    exchange: str,
    scope: str,
    instant: datetime,
    reason: str,
    *,
    is_closed: bool = False,
) -> None:
    """Let no process draw from the scope before the instant (machine's clock, UTC); a longer block stays.

    With `is_closed` a draw fails at once instead of being told to wait.
    """
    minute = OffsetClock().now().replace(second=0, microsecond=0) - _MINUTE
    connection.execute(_INSERT, [exchange, scope, minute, LIMIT_BEFORE_PUBLISHED])
    connection.execute(
        "update ops.request_budget set blocked_until = %(instant)s, reason = %(reason)s, is_closed = %(is_closed)s,"
        " updated_at = clock_timestamp()"
        " where exchange = %(exchange)s and scope = %(scope)s"
        " and (blocked_until is null or blocked_until < %(instant)s)",
        {"exchange": exchange, "scope": scope, "instant": instant, "reason": reason, "is_closed": is_closed},
    )


def budgets(connection: psycopg.Connection) -> list[BudgetRow]:
    """Return the budget of every exchange and scope."""
    with connection.cursor(row_factory=class_row(BudgetRow)) as cursor:
        return cursor.execute(
            "select exchange, scope, window_start, used_weight, limit_weight, blocked_until, reason"
            " from ops.request_budget order by exchange, scope"
        ).fetchall()


class SharedBudget:
    """The budget of one exchange as its client sees it; threads take turns on the connection."""

    def __init__(
        self, connection: psycopg.Connection, exchange: str, *, ceiling: float, clock: Clock | None = None
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._ceiling = ceiling
        self._clock = clock or OffsetClock()
        self._turn = threading.Lock()

    def draw(self, scope: str, weight: int) -> float:
        """Take the weight and return 0, or return the seconds to wait before asking again."""
        with self._turn:
            return draw(self._connection, self._exchange, scope, weight, self._ceiling, now=self._clock.now())

    def report_used(self, scope: str, used: int) -> None:
        """Take over the weight that the exchange says was used in its running minute."""
        with self._turn:
            report_used(self._connection, self._exchange, scope, used, now=self._clock.now())

    def set_limit(self, scope: str, limit: int) -> None:
        """Take over the exchange's published limit per minute."""
        with self._turn:
            set_limit(self._connection, self._exchange, scope, limit)

    def block_until(self, scope: str, instant: datetime, reason: str) -> None:
        """Let nobody draw from the scope before the instant."""
        with self._turn:
            block_until(self._connection, self._exchange, scope, instant, reason)

    def close_source(self, scope: str, instant: datetime, reason: str) -> None:
        """Let every draw from the scope before the instant fail at once, in all processes."""
        with self._turn:
            block_until(self._connection, self._exchange, scope, instant, reason, is_closed=True)


def _is_slightly_ahead(window_start: datetime, minute: datetime) -> bool:
    """Another process's clock may be a little ahead; a clock that was set back by more starts afresh."""
    return timedelta(0) < window_start - minute <= _MINUTE
