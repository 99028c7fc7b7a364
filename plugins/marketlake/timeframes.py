"""Candle lengths and their grids. A dataset's timeframes are a closed list; grids take any whole multiple."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from marketlake.errors import UnknownNameError, one_of
from marketlake.instants import Window, ceil_instant

TIMEFRAMES = ("1m", "5m", "15m", "1h", "4h", "1d")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_TIMEFRAME = re.compile(r"([1-9]\d{0,3})([mhd])")


def check_timeframe(text: str) -> str:
    """Return the timeframe if it is one of the dataset's list.

    Raises:
        UnknownNameError: it is not; the text names the list.
    """
    if text not in TIMEFRAMES:
        raise UnknownNameError(one_of("timeframe", text, TIMEFRAMES))
    return text


def timeframe_length(timeframe: str) -> timedelta:
    """Return the length of a timeframe such as `1m`, `2h`, `1d`; any multiple of a minute, an hour or a day.

    Raises:
        UnknownNameError: the text is not a number and one of m, h, d.
    """
    match = _TIMEFRAME.fullmatch(timeframe)
    if match is None:
        raise UnknownNameError(f"timeframe must be a number and m, h or d, like 15m; was {timeframe!r}")
    return int(match[1]) * _UNITS[match[2]]


def grid(window: Window, timeframe: str) -> list[datetime]:
    """Return the open times of the candles that open inside the window."""
    step = timeframe_length(timeframe)
    first = ceil_instant(window.start, step)
    return [first + step * i for i in range(grid_count(window, timeframe))]


def grid_count(window: Window, timeframe: str) -> int:
    """Return how many candles open inside the window, without listing them."""
    step = timeframe_length(timeframe)
    first = ceil_instant(window.start, step)
    return max(0, -((first - window.end) // step))


def holes(window: Window, timeframe: str, present: list[datetime]) -> list[Window]:
    """Return the ranges of the window's grid without a present open time, neighbours joined, in order."""
    step = timeframe_length(timeframe)
    seen, found = set(present), list[Window]()
    for open_time in grid(window, timeframe):
        if open_time in seen:
            continue
        if found and found[-1].end == open_time:
            found[-1] = Window(found[-1].start, open_time + step)
        else:
            found.append(Window(open_time, open_time + step))
    return found
