"""Request weight as the exchange meters it: by address and minute, 429 above the limit, 418 for who does not stop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from marketlake.sandbox.instruments import SPOT_WEIGHT, UM_WEIGHT
from marketlake.sandbox.listings import SPOT

CALLS_FORGIVEN = 10
FIRST_BAN_SECONDS = 120
LONGEST_BAN_SECONDS = 3 * 86_400
FUNDING_CALLS = 500
FUNDING_SECONDS = 300


@dataclass
class _Meter:
    """What one address did on one market."""

    minute: int = -1
    used: int = 0
    refused: int = 0
    bans: int = 0
    banned_until: float = 0.0
    funding_calls: deque[float] = field(default_factory=deque)


@dataclass(frozen=True)
class Verdict:
    """What the meter says to a call: None to go on, else 429 or 418, with the seconds to wait."""

    used: int
    status: int | None = None
    wait_seconds: int = 0


class WeightMeter:
    """Meters every address on both markets by the minutes of `seconds`, a clock in seconds since 1970."""

    def __init__(
        self,
        *,
        spot_limit: int = SPOT_WEIGHT,
        um_limit: int = UM_WEIGHT,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self.limits = {SPOT: spot_limit, "um": um_limit}
        self._seconds = seconds
        self._meters: dict[tuple[str, str], _Meter] = {}
        self._lock = threading.Lock()

    def charge(self, address: str, venue: str, weight: int) -> Verdict:
        """Count a call and judge it."""
        now = self._seconds()
        with self._lock:
            meter = self._meter(address, venue, now)
            if now < meter.banned_until:
                return Verdict(meter.used, 418, _whole(meter.banned_until - now))
            meter.used += weight
            if meter.used <= self.limits[venue]:
                return Verdict(meter.used)
            meter.refused += 1
            if meter.refused > CALLS_FORGIVEN:
                return self._ban(meter, now)
            return Verdict(meter.used, 429, _whole(60 - now % 60))

    def charge_funding(self, address: str) -> Verdict:
        """Count a call of fundingRate or fundingInfo, which share 500 calls in five minutes."""
        now = self._seconds()
        with self._lock:
            calls = self._meter(address, "um", now).funding_calls
            while calls and calls[0] <= now - FUNDING_SECONDS:
                calls.popleft()
            if len(calls) >= FUNDING_CALLS:
                return Verdict(len(calls), 429, _whole(calls[0] + FUNDING_SECONDS - now))
            calls.append(now)
            return Verdict(len(calls))

    def used(self, address: str, venue: str) -> int:
        """Return the weight used in this minute."""
        with self._lock:
            return self._meter(address, venue, self._seconds()).used

    def forgive(self) -> None:
        """Forget everything, bans included."""
        with self._lock:
            self._meters.clear()

    def _meter(self, address: str, venue: str, now: float) -> _Meter:
        meter = self._meters.setdefault((address, venue), _Meter())
        if meter.minute != int(now // 60):
            meter.minute, meter.used, meter.refused = int(now // 60), 0, 0
        return meter

    def _ban(self, meter: _Meter, now: float) -> Verdict:
        seconds = min(FIRST_BAN_SECONDS * 2**meter.bans, LONGEST_BAN_SECONDS)
        meter.bans += 1
        meter.banned_until = now + seconds
        return Verdict(meter.used, 418, seconds)


def _whole(seconds: float) -> int:
    return max(1, -int(-seconds // 1))
