"""The faults that are on: which of them act on an answer, and how often they did."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from marketlake.errors import UnknownNameError, one_of
from marketlake.instants import format_instant, from_epoch_ms
from marketlake.sandbox.fault_kinds import FaultKind, kind_named, read_parameters
from marketlake.sandbox.noise import key_of, unit


@dataclass(frozen=True)
class Call:
    """What a request is about, as far as its address says; the range of data is in ms, end exclusive."""

    source: str
    venue: str
    endpoint: str
    path: str
    symbol: str | None = None
    timeframe: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass
class Fault:
    """A fault that was switched on; `hits` counts the answers it changed."""

    number: int
    kind: FaultKind
    values: dict[str, Any]
    seen: int = 0
    hits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.name

    @property
    def is_spent(self) -> bool:
        """Whether it has hit as often as it may."""
        times = self.values.get("times")
        return times is not None and self.hits >= times

    def fits(self, call: Call) -> bool:
        """Whether a call is one that this fault is about."""
        values = self.values
        if self.is_spent or values.get("source", "both") not in ("both", call.source):
            return False
        for name, actual in (("market", call.venue), ("symbol", call.symbol), ("timeframe", call.timeframe)):
            if values.get(name) not in (None, actual):
                return False
        return self._fits_endpoint(call) and self._overlaps(call)

    def take(self, call: Call) -> bool:
        """Whether the fault hits this answer; counts it if so."""
        if not self.fits(call):
            return False
        with self._lock:
            self.seen += 1
            if self.is_spent or self.seen <= self.values["after"] or not self._draws():
                return False
            self.hits += 1
            return True

    def selects(self, call: Call, instant_ms: int) -> bool:
        """Whether a row of this instant is one that the fault is about."""
        start, end = self.values.get("start"), self.values.get("end")
        if (start is not None and instant_ms < start) or (end is not None and instant_ms >= end):
            return False
        probability: float = self.values["probability"]
        return (
            probability >= 1 or unit(key_of(self.values["seed"], call.symbol, call.timeframe), instant_ms) < probability
        )

    def document(self) -> dict[str, Any]:
        """Return the fault as the control endpoint shows it."""
        shown = {name: _shown(value, name) for name, value in self.values.items() if value is not None}
        return {"id": self.number, "name": self.name, "parameters": shown, "hits": self.hits, "is_spent": self.is_spent}

    def _draws(self) -> bool:
        probability: float = self.values["probability"]
        if self.kind.acts_on == "rows" or probability >= 1:
            return True
        return unit(key_of(self.values["seed"], self.name), self.seen) < probability

    def _fits_endpoint(self, call: Call) -> bool:
        wanted = self.values.get("endpoint")
        if wanted is None:
            return True
        return call.path.startswith(wanted) if wanted.startswith("/") else wanted == call.endpoint

    def _overlaps(self, call: Call) -> bool:
        start, end = self.values.get("start"), self.values.get("end")
        if start is None and end is None:
            return True
        if call.start_ms is None or call.end_ms is None:
            return False
        return (end is None or call.start_ms < end) and (start is None or call.end_ms > start)


class Faults:
    """The faults that are on; they can be changed while the sandbox runs."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, name: str, **parameters: Any) -> Fault:
        """Switch a fault on and return it.

        Raises:
            UnknownNameError: no such fault; the text lists the known ones.
            UsageError: a parameter is unknown, missing or out of range.
        """
        kind = kind_named(name)
        fault = Fault(next(self._numbers), kind, read_parameters(kind, parameters))
        with self._lock:
            self._faults = [*self._faults, fault]
        return fault

    def remove(self, number: int) -> None:
        """Switch one fault off by its id.

        Raises:
            UnknownNameError: no such fault is on.
        """
        with self._lock:
            if all(fault.number != number for fault in self._faults):
                known = [str(fault.number) for fault in self._faults]
                raise UnknownNameError(one_of("fault id", number, known) if known else "no fault is on")
            self._faults = [fault for fault in self._faults if fault.number != number]

    def clear(self, name: str | None = None) -> None:
        """Switch all faults off, or those of one name."""
        with self._lock:
            self._faults = [fault for fault in self._faults if name is not None and fault.name != name]

    def active(self, *names: str) -> list[Fault]:
        """Return the faults that are on and not spent, those of the names or all, oldest first."""
        return [one for one in self._faults if not one.is_spent and (not names or one.name in names)]

    def fitting(self, call: Call, names: Iterable[str]) -> list[Fault]:
        """Return the faults of these names that a call is about."""
        return [fault for fault in self.active(*names) if fault.fits(call)]

    def documents(self) -> list[dict[str, Any]]:
        """Return all faults as the control endpoint shows them."""
        return [fault.document() for fault in self._faults]


def _shown(value: Any, name: str) -> Any:
    return format_instant(from_epoch_ms(value)) if name in ("start", "end", "at") else value
