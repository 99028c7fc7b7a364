"""The exchange's candle intervals and their grids, in milliseconds since 1970 (UTC)."""

from __future__ import annotations

from datetime import UTC, datetime

from marketlake.sandbox.listings import DAY_MS

_MINUTE, _HOUR = 60_000, 3_600_000
LENGTHS = {
    "1m": _MINUTE,
    "3m": 3 * _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "30m": 30 * _MINUTE,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "6h": 6 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}
MONTH = "1M"
INTERVALS = (*LENGTHS, MONTH)
_WEEK_STARTS = 4 * DAY_MS  # 1970-01-05 was the first Monday


def open_of(interval: str, instant_ms: int) -> int:
    """Return the open time of the candle that holds an instant."""
    if interval == MONTH:
        return month_start(instant_ms)
    shift = _WEEK_STARTS if interval == "1w" else 0
    return instant_ms - (instant_ms - shift) % LENGTHS[interval]


def next_open(interval: str, open_ms: int, steps: int = 1) -> int:
    """Return the open time `steps` candles later; negative steps go back."""
    if interval != MONTH:
        return open_ms + steps * LENGTHS[interval]
    at = datetime.fromtimestamp(open_ms / 1000, UTC)
    months = at.year * 12 + at.month - 1 + steps
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def month_start(instant_ms: int) -> int:
    """Return midnight of the first day of the instant's month."""
    at = datetime.fromtimestamp(instant_ms / 1000, UTC)
    return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()) * 1000
