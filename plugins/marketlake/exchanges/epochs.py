"""Epoch numbers as exchanges send them → instants: the unit is told by magnitude, absurd ones are none (GEN-02)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from marketlake.instants import EARLIEST, from_epoch_ms

# The smallest number of a unit, and how many nanoseconds the unit has: 10^11 is 1973 in ms and 5138 in s.
_UNITS = ((10**17, 1), (10**14, 1_000), (10**11, 1_000_000), (0, 1_000_000_000))
_LATEST = datetime(2101, 1, 1, tzinfo=UTC)
_LONGEST_DIGITS = 19


def instant_of_epoch(number: int) -> datetime | None:
    """Return the UTC instant of a count of s, ms, µs or ns since 1970, cut to microseconds.

    None before 2009-01-03 and after the year 2100: no market has data from then.
    """
    if not 0 <= number < 10**_LONGEST_DIGITS:
        return None
    nanoseconds = number * next(length for least, length in _UNITS if number >= least)
    if nanoseconds >= 10**_LONGEST_DIGITS:
        return None
    instant = from_epoch_ms(0) + timedelta(microseconds=nanoseconds // 1_000)
    return instant if EARLIEST <= instant < _LATEST else None
