"""A market restated candle by candle at random: every `as_of` read equals what a log of all observations says.

The log knows nothing of revisions, digests or agreements: of what was loaded by an instant, the best source counts, and
of it what was received last.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from marketlake import ledger
from marketlake.datasets import SOURCE_PRECEDENCE
from marketlake.instants import Window
from marketlake.lake import Lake
from tests.landed import ETH, Landing, at, kline, zip_of
from tests.spark.lake import SparkLake

pytestmark = [pytest.mark.spark]

HOUR = timedelta(hours=1)
START = at("2025-01-01")
FIRST_RECEIVED = at("2026-01-02")
SYMBOL, TIMEFRAME = "ETH/USDT", "1h"
# Loads of the parts of the year as they were first received; the third comes after restatements of its own candles.
BASE_LOADS = (0, 1, 6)


@dataclass(frozen=True)
class Seen:
    """What a source said of one candle, when it was received, and in which load it came."""

    hour: int
    close: str
    source: str
    received_at: datetime
    load: int


@dataclass(frozen=True)
class Asked:
    """One answer: a range of candles as the source had them at an instant."""

    first: int
    closes: tuple[str, ...]
    source: str
    received_at: datetime
    load: int


@dataclass
class Exchange:
    """An exchange that restates candles; remembers every value of each with the instant from which on it holds."""

    hours: int
    random: random.Random
    values: list[list[tuple[datetime, str]]] = field(init=False)

    def __post_init__(self) -> None:
        self.values = [[(START, self._price())] for _ in range(self.hours)]

    def restate(self, hour: int, when: datetime) -> None:
        """Give the candle another close, now and then its first one again."""
        goes_back = len(self.values[hour]) > 1 and self.random.random() < 0.3
        self.values[hour].append((when, self.values[hour][0][1] if goes_back else self._price()))

    def close(self, hour: int, when: datetime) -> str:
        """Return the candle's close as the exchange gave it at an instant."""
        return next(value for since, value in reversed(self.values[hour]) if since <= when)

    def _price(self) -> str:
        return f"{self.random.uniform(90, 110):.8f}"


@dataclass(frozen=True)
class Story:
    """How much is restated, in how many loads, of how many candles."""

    seed: int
    hours: int
    restatements: int
    loads: int
    archives: int

    def asked(self) -> Iterator[Asked]:
        """Yield the answers: the candles as they were first, each restatement soon after it, some days' archives."""
        draw = random.Random(self.seed)
        exchange = Exchange(self.hours, draw)
        step = timedelta(minutes=7)
        last = FIRST_RECEIVED + step * (self.restatements + 1)
        happened = [(FIRST_RECEIVED + step * (number + 1), draw.randrange(self.hours))
                    for number in range(self.restatements)]  # fmt: skip
        for when, hour in happened:
            exchange.restate(hour, when)
        third = -(-self.hours // 3)
        for part, load in enumerate(BASE_LOADS):
            hours = range(part * third, min(self.hours, (part + 1) * third))
            yield self._answer(exchange, hours, "rest", FIRST_RECEIVED + timedelta(seconds=part), load)
        for number, (when, hour) in enumerate(happened):
            around = range(max(0, hour - draw.randrange(4)), min(self.hours, hour + 1 + draw.randrange(4)))
            yield self._answer(exchange, around, "rest", when + timedelta(seconds=1), self._load(number, draw))
        for _ in range(self.archives):
            day, when = draw.randrange(self.hours // 24), FIRST_RECEIVED + (last - FIRST_RECEIVED) * draw.random()
            load = self._load(int((when - FIRST_RECEIVED) / step), draw)
            yield self._answer(exchange, range(24 * day, 24 * day + 24), "archive", when, load)

    def _load(self, number: int, draw: random.Random) -> int:
        """Return the load that brings a restatement: mostly in order, a fourth of them later than younger ones."""
        delay = draw.randint(1, 4) if draw.random() < 0.25 else 0
        return min(self.loads - 1, 1 + number * (self.loads - 1) // self.restatements + delay)

    def _answer(self, exchange: Exchange, hours: range, source: str, when: datetime, load: int) -> Asked:
        return Asked(hours[0], tuple(exchange.close(hour, when) for hour in hours), source, when, load)


def land(landing: Landing, answer: Asked, folder: Path) -> None:
    """Put an answer into the landing area."""
    rows = [kline(START + HOUR * (answer.first + n), close) for n, close in enumerate(answer.closes)]
    received_at = answer.received_at.isoformat().replace("+00:00", "Z")
    if answer.source == "rest":
        first = START + HOUR * answer.first
        landing.rest(rows, Window(first, first + HOUR * len(rows)), market=ETH, received_at=received_at, reason="force")
        return
    name = f"ETHUSDT-1h-{START + HOUR * answer.first:%Y-%m-%d}"
    path = zip_of(folder, name, [",".join(map(str, row)) for row in rows])
    # A day's archive may be asked for twice in one load: each has a place of its own.
    run = f"data/spot/daily/klines/ETHUSDT/1h/{name}.zip"
    landing.sealed = int(answer.received_at.timestamp())
    landing.archive(path, run, market=ETH, received_at=received_at, reason="force")


def load_all(lake: SparkLake, answers: list[Asked], *, loads: int, at_once: int, folder: Path) -> list[datetime]:
    """Load everything by the real load, several manifests in each pass, and return each load's `known_at`."""
    known = list[datetime]()
    for start in range(0, loads, at_once):
        for number in range(start, min(loads, start + at_once)):
            landing = lake.landing()
            for answer in (answer for answer in answers if answer.load == number):
                landing.sealed = number
                land(landing, answer, folder)
            landing.sealed = number
            ledger.register_manifest(lake.connection, landing.seal(f"load-{number}"), landing.path)
        known += [record.known_at for record in lake.drain() if record.known_at]
    return known


def observations(answers: list[Asked]) -> list[Seen]:
    return [
        Seen(answer.first + n, close, answer.source, answer.received_at, answer.load)
        for answer in answers
        for n, close in enumerate(answer.closes)
    ]


def expected(log: list[Seen], loads: int) -> dict[datetime, Decimal]:
    """Return what the first so many loads tell of each candle, by brute force."""
    best: dict[int, tuple[int, datetime, str]] = {}
    for seen in log:
        if seen.load < loads:
            strength = (-SOURCE_PRECEDENCE.index(seen.source), seen.received_at, seen.close)
            best[seen.hour] = max(best.get(seen.hour, strength), strength)
    return {START + HOUR * hour: Decimal(close) for hour, (_, _, close) in sorted(best.items())}


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(Story(seed=7, hours=240, restatements=60, loads=8, archives=3), marks=pytest.mark.sample),
        pytest.param(Story(seed=1, hours=8760, restatements=1000, loads=24, archives=20)),
    ],
    ids=["a few days", "a year"],
)
def test_every_as_of_read_equals_the_log_of_observations(lake: SparkLake, tmp_path: Path, story: Story) -> None:
    answers = list(story.asked())
    log = observations(answers)

    known = load_all(lake, answers, loads=story.loads, at_once=4, folder=tmp_path)

    assert len(known) == story.loads
    assert known == sorted(set(known))
    reader = Lake(lake.settings.lake_root)
    moment = timedelta(microseconds=1)
    for number, instant in enumerate(known, start=1):
        for as_of, loaded in ((instant - moment, number - 1), (instant, number)):
            wanted = expected(log, loaded)
            assert by_sdk(reader, as_of) == wanted, f"SDK as of load {loaded}"
            assert by_macro(reader, as_of) == wanted, f"macro as of load {loaded}"
    rows = reader.query("select count(*) as n, max(revision) as revision from bronze.ohlcv").to_pylist()
    assert rows[0]["n"] > story.hours + story.restatements // 2
    assert rows[0]["revision"] > 2


def by_sdk(reader: Lake, as_of: datetime) -> dict[datetime, Decimal]:
    rows = reader.candles(SYMBOL, TIMEFRAME, as_of=as_of, exact=True, columns=["open_time", "close"]).to_pydict()
    return dict(zip(rows["open_time"], rows["close"], strict=True))


def by_macro(reader: Lake, as_of: datetime) -> dict[datetime, Decimal]:
    query = f"select open_time, close from ohlcv_as_of('{as_of.isoformat()}') where symbol = '{SYMBOL}'"
    rows = reader.query(f"{query} and timeframe = '{TIMEFRAME}' order by open_time").to_pydict()
    return dict(zip(rows["open_time"], rows["close"], strict=True))
