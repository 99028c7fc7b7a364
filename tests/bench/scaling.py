"""What a plan, a run with nothing to do and coverage take as the history behind them grows: 50 symbols, ×1, ×4, ×16."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from marketlake import ledger
from marketlake.instants import DAY, Window, parse_instant
from marketlake.ledger import MarketFilter
from marketlake.quality.coverage_report import coverage_report
from tests.bench.figures import Figure, seconds_of
from tests.bench.worlds import CLOCK
from tests.histories import Past
from tests.world import World

SYMBOLS, DAYS, GROWTH = 50, 23, (1, 4, 16)
NOW = parse_instant(CLOCK)
END = parse_instant(CLOCK[:10]) - DAY
LAST_DAY, NEXT_DAY = Window(END - DAY, END), Window(END, END + DAY)
TIMES = 5


def measure(world: World) -> list[Figure]:
    """Return how much longer each takes with 4 and 16 times the history; each size is part of the next."""
    past, settings = Past(SYMBOLS, END, "synthetic:1"), world.settings
    with ledger.connect(settings) as connection:
        past.begin(connection, now=NOW - timedelta(hours=1))
        works: dict[str, Callable[[], object]] = {
            "plan of a day": lambda: past.run(settings, NEXT_DAY, dry_run=True),
            "a run with nothing to do": lambda: past.run(settings, LAST_DAY),
            "coverage of a day": lambda: coverage_report(connection, MarketFilter(window=LAST_DAY)),
            "coverage of everything": lambda: coverage_report(connection),
        }
        taken: dict[str, list[float]] = {what: [] for what in works}
        written = 0
        for factor in GROWTH:
            past.write_days(connection, settings, range(written, DAYS * factor))
            written = DAYS * factor
            for what, work in works.items():
                work()
                taken[what].append(seconds_of(work, times=TIMES))
    return [
        Figure(
            f"{what}, {SYMBOLS} symbols × 1h, s with ×{factor} the history / with {DAYS} days",
            seconds[place] / seconds[0],
            None,
            "lower",
            f"{1000 * seconds[place]:.0f} ms, {1000 * seconds[0]:.0f} ms",
        )
        for what, seconds in taken.items()
        for place, factor in enumerate(GROWTH)
        if factor > 1
    ]
