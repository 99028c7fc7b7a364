"""A mix drawn from a seed: the markets, three days of runs with the faults that act on each, and what stays changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from marketlake.instants import DAY, Window, floor_instant, format_instant, parse_instant

CANDLES, FUNDING, TRADES = "ohlcv", "funding_rates", "trades"
# What the exchange calls the three, on REST and in its archives.
ENDPOINTS = {CANDLES: "klines", FUNDING: "fundingRate", TRADES: "aggTrades"}
_FIELDS = {
    CANDLES: ("open", "high", "low", "close", "volume", "quote_volume"),
    FUNDING: ("funding_rate",),
    TRADES: ("price", "amount"),
}
# Quiet markets: a seed shall cost seconds.
_SPOT = ("BLZ/ETH", "RUNE/EUR", "LRC/BTC", "XRP/ETH", "NKN/USDT")
_PERPETUAL = ("CTK/USDT:USDT", "AKRO/USDT:USDT", "KEEP/USDT:USDT")
_TIMEFRAMES = (("1h",), ("15m",), ("15m", "1h"), ("4h",), ("1h", "1d"))
# Last days whose windows lie within a month, over its end, and over the switch of spot files to microseconds.
_LAST_DAYS = ("2025-03-20", "2025-03-02", "2025-01-02", "2024-06-11", "2024-12-31")
_DATASETS = ((CANDLES,), (FUNDING,), (TRADES,), (CANDLES, TRADES), (CANDLES, FUNDING), (CANDLES, FUNDING, TRADES))
_SHARES = (30, 20, 26, 10, 7, 7)
DAYS = 3
TIGHT_LIMIT = 1_000
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class FaultDraw:
    """A fault by name with its parameters."""

    name: str
    parameters: Parameters

    @property
    def spoils_every_archive(self) -> bool:
        """Whether no archive of its dataset can be had while it acts."""
        total = self.parameters.get("times") is None and self.parameters.get("probability", 1) >= 1
        return total and self.name in ("wrong_checksum", "damaged_zip") and "start" not in self.parameters


@dataclass(frozen=True)
class RunDraw:
    """One run: what it asks for."""

    datasets: tuple[str, ...]
    window: Window
    mode: str = "incremental"
    source: str | None = None
    check_reissued: bool = False


@dataclass(frozen=True)
class DayDraw:
    """A day of the sandbox's clock: the faults that act on it, and its runs in order."""

    clock: datetime
    faults: tuple[FaultDraw, ...]
    runs: tuple[RunDraw, ...]


@dataclass(frozen=True)
class Mix:
    """All that a seed decides. `lasting` are changes of the world: they act from the first day on and stay."""

    seed: int
    datasets: tuple[str, ...]
    spot: str
    perpetual: str
    timeframes: tuple[str, ...]
    window: Window
    days: tuple[DayDraw, ...]
    after: tuple[datetime, ...]
    lasting: tuple[FaultDraw, ...] = ()
    weight_limit: int | None = None


def groups_of(datasets: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the datasets as runs take them together: those of the spot market, and that of the perpetual."""
    spot = tuple(one for one in datasets if one != FUNDING)
    return (*((spot,) if spot else ()), *(((FUNDING,),) if FUNDING in datasets else ()))


def draw_mix(seed: int) -> Mix:
    """Return the mix of a seed; the same one for ever."""
    rng = random.Random(f"mix {seed}")
    [datasets] = rng.choices(_DATASETS, _SHARES)
    last = parse_instant(rng.choice(_LAST_DAYS)) + timedelta(days=rng.randrange(3))
    start = last - timedelta(days=rng.choice((1, 2, 3)))
    if datasets == (FUNDING,):
        start -= timedelta(days=rng.choice((0, 25, 60)))
    window = Window(start, last + timedelta(hours=rng.choice((0, 0, 5, 24))))
    clocks = [last + timedelta(days=number, hours=rng.uniform(3, 5)) for number in range(DAYS)]
    ends = [clocks[-1] + timedelta(hours=27), clocks[-1] + timedelta(hours=54)]
    drawing = _Drawing(rng, datasets, window, grows=rng.random() < 0.6)
    days = tuple(
        DayDraw(clock, tuple(drawing.fault() for _ in range(rng.choice((1, 1, 2, 3, 4)))), drawing.runs(number))
        for number, clock in enumerate(clocks)
    )
    return Mix(
        seed,
        datasets,
        rng.choice(_SPOT),
        rng.choice(_PERPETUAL),
        rng.choice(_TIMEFRAMES),
        window,
        days,
        tuple(ends),
        drawing.lasting(),
        TIGHT_LIMIT if rng.random() < 0.06 else None,
    )


@dataclass
class _Drawing:
    rng: random.Random
    datasets: tuple[str, ...]
    window: Window
    grows: bool

    def fault(self) -> FaultDraw:
        """Draw one fault that acts on one of the datasets, or on all calls."""
        dataset = self.rng.choice(self.datasets)
        name = self.rng.choice([one for one in _DRAWS if one not in _FOR_CANDLES or dataset == CANDLES])
        return FaultDraw(name, _DRAWS[name](self, dataset))

    def runs(self, day: int) -> tuple[RunDraw, ...]:
        """Draw the runs of a day: candles and trades in one or apart, in any order, the window whole or cut."""
        groups = list(groups_of(self.datasets))
        if self.rng.random() < 0.5:
            groups = [(one,) for one in self.datasets]
        self.rng.shuffle(groups)
        return tuple(self._run(group, day) for group in groups)

    def lasting(self) -> tuple[FaultDraw, ...]:
        """Draw what stays changed after the faults: a symbol ends, a perpetual pays at another interval."""
        days = self.window.length // DAY
        at = format_instant(self.window.start + timedelta(days=self.rng.randrange(days + 1), hours=16))
        kind = self.rng.random()
        if FUNDING in self.datasets and kind < 0.25:
            hours = self.rng.choice((1, 2, 4))
            return (FaultDraw("funding_interval_change", {"at": at, "hours": hours}),)
        return (FaultDraw("delisting", {"at": at}),) if kind > 0.9 else ()

    def call(self, dataset: str, **parameters: Any) -> dict[str, Any]:
        """What answers a fault of whole calls is about: the dataset's, all archives, the clock, or all."""
        about = self.rng.choice((ENDPOINTS[dataset], ENDPOINTS[dataset], "/data/", "time", "exchangeInfo", None))
        return _given({"endpoint": about, "after": self.rng.randrange(3), **parameters})

    def some(self, dataset: str, **parameters: Any) -> dict[str, Any]:
        """Rows of a stretch, or scattered ones; `source` where the fault can tell them apart."""
        if self.rng.random() < 0.6:
            start = self.window.start + self.window.length * self.rng.uniform(0, 0.9)
            end = start + self.window.length * self.rng.uniform(0.01, 0.4)
            parameters |= {"start": format_instant(start), "end": format_instant(end)}
        else:
            parameters |= {"probability": self.rng.choice((0.01, 0.1, 0.5)), "seed": self.rng.randrange(1000)}
        return _given({"endpoint": ENDPOINTS[dataset], **parameters})

    def source(self) -> str:
        """Where rows are wrong."""
        return self.rng.choice(("both", "rest", "archive"))

    def file(self, dataset: str, **parameters: Any) -> dict[str, Any]:
        """The dataset's archives: every one, or each second answer."""
        probability = self.rng.choice((None, None, 0.5))
        return _given({"endpoint": ENDPOINTS[dataset], "probability": probability, **parameters})

    def _run(self, datasets: tuple[str, ...], day: int) -> RunDraw:
        cut = self.rng.random()
        start, end = self.window.start, self._end_on(day)
        if cut < 0.2 and day < DAYS - 1:
            start = min(end - timedelta(hours=1), start + timedelta(hours=self.rng.randrange(1, 20)))
        elif cut < 0.4 and day < DAYS - 1:
            end = max(start + timedelta(hours=1), end - timedelta(hours=self.rng.randrange(1, 20)))
        mode = self.rng.choices(("incremental", "backfill", "force"), (5, 1, 4 if day else 1))[0]
        source = self.rng.choices((None, "rest", "archive"), (7, 1, 1))[0]
        return RunDraw(datasets, Window(start, end), mode, source, check_reissued=self.rng.random() < 0.15)

    def _end_on(self, day: int) -> datetime:
        """The end of a day's window: the whole one's, or one that grows with the days, so that each asks for more."""
        thirds = self.window.length * (day + 1) / DAYS if self.grows else self.window.length
        return floor_instant(self.window.start + thirds, timedelta(hours=1))


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _field(drawing: _Drawing, dataset: str) -> str:
    return drawing.rng.choice(_FIELDS[dataset])


def _times(drawing: _Drawing, *choices: int | None) -> int | None:
    return drawing.rng.choice(choices)


_Draw = Callable[[_Drawing, str], dict[str, Any]]
_DRAWS: dict[str, _Draw] = {
    "gaps": lambda d, of: d.some(of, source=d.source()),
    "duplicates": lambda d, of: d.some(of, source=d.source()),
    "disorder": lambda d, of: d.some(of, source=d.source()),
    "restated_candle": lambda d, of: d.some(
        of, source=d.source(), field=_field(d, of), by_pct=d.rng.choice((0.1, -0.1, 3.0))
    ),
    "unreadable_number": lambda d, of: d.some(of, source=d.source(), field=_field(d, of)),
    "open_candle": lambda d, of: {"endpoint": ENDPOINTS[of]},
    "page_overlap": lambda d, of: {"endpoint": ENDPOINTS[of], "rows": d.rng.choice((1, 5, 50))},
    "silence": lambda d, of: _given({"endpoint": ENDPOINTS[of], "times": _times(d, None, 1, 3)}),
    "wrong_checksum": lambda d, of: d.file(of),
    "damaged_zip": lambda d, of: d.file(
        of, keep_pct=d.rng.choice((5, 50, 95)), checksum=d.rng.choice(("damaged", "original"))
    ),
    "missing_archive": lambda d, of: d.file(of),
    "archive_reissued": lambda d, of: d.some(of, field=_field(d, of)),
    "unit_switch": lambda d, of: d.file(of, unit=d.rng.choice(("s", "ms", "us"))),
    "clock_skew": lambda d, of: {"seconds": d.rng.choice((-40, -2, 2, 40, 3600))},
    "delisting": lambda d, of: {"at": format_instant(d.window.start + d.window.length * d.rng.random())},
    "too_many_requests": lambda d, of: d.call(of, retry_after=1, times=_times(d, 1, 2)),
    "banned": lambda d, of: d.call(of, seconds=2, times=1),
    "forbidden": lambda d, of: d.call(of, page=d.rng.choice(("plain", "cloudfront")), times=1),
    "restricted": lambda d, of: d.call(of, times=1),
    "unavailable": lambda d, of: d.call(of, status=d.rng.choice((500, 502, 503)), times=_times(d, None, 1, 4, 8)),
    "reset": lambda d, of: d.call(of, after_bytes=d.rng.choice((0, 100, 10_000)), times=_times(d, None, 1, 4, 8)),
    "slow": lambda d, of: d.call(of, seconds=d.rng.choice((0.1, 0.5)), times=_times(d, 2, 4)),
    "truncated_body": lambda d, of: d.call(of, keep_pct=d.rng.choice((1, 50, 99)), times=_times(d, None, 1, 4, 8)),
    "html_ok": lambda d, of: d.call(of, times=_times(d, None, 1, 4, 8)),
}
_FOR_CANDLES = ("open_candle",)
DRAWN_FAULTS = (*_DRAWS, "funding_interval_change")
