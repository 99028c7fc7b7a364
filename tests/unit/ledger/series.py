"""Windows, facts and answers of one market, short enough to read in a test."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from marketlake.instants import Window
from marketlake.ledger.facts import Fact, Tile
from marketlake.work import Answer, Market

START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
MARKET = ("ohlcv", "binance", "BTC/USDT", "1h")


def hours(first: int, last: int) -> Window:
    """The window from the first to the last hour since START."""
    return Window(START + timedelta(hours=first), START + timedelta(hours=last))


def day(number: int) -> date:
    """A day of attempts."""
    return date(2025, 3, number)


def fact(first: int, last: int, state: str, **changes: Any) -> Fact:
    """A fact over these hours; open states bring an attempt on `on` (a day number) and its retry."""
    on = changes.pop("on", None)
    if on is not None:
        changes |= {"attempt_day": day(on), "retry_at": datetime(2025, 3, on, tzinfo=UTC) + timedelta(days=1)}
    return Fact(*MARKET, window=hours(first, last), state=state, **{"source": "rest", **changes})


def tile(first: int, last: int, state: str, **changes: Any) -> Tile:
    """A tile over these hours."""
    return Tile(hours(first, last), state, **{"source": "rest", **changes})


def states(tiles: list[Tile]) -> list[tuple[int, int, str]]:
    """Tiles as (first hour, last hour, state)."""
    hour = timedelta(hours=1)
    return [((item.window.start - START) // hour, (item.window.end - START) // hour, item.state) for item in tiles]


def answer(window: Window, **changes: Any) -> Answer:
    """A REST answer of BTC/USDT 1h."""
    plain: dict[str, Any] = {
        "task_id": "t1",
        "market": Market("spot", "BTC/USDT", "BTCUSDT"),
        "timeframe": "1h",
        "source": "rest",
        "window": window,
        "status": "answered",
        "received_at": NOW,
    }
    return Answer(**(plain | changes))
