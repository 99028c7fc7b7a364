"""A million candles in Postgres: published from bronze, then through the indicators."""

from __future__ import annotations

from tests.bench import indicators, publishing
from tests.bench.figures import Figure
from tests.world import World

SYMBOL, TIMEFRAME = "SOL/USDT", "1m"
YEARS = ("2023-01-01", "2025-01-01")
NEXT_DAYS = (
    ("2025-01-01", "2025-01-02"),
    ("2025-01-02", "2025-01-03"),
    ("2025-01-03", "2025-01-04"),
    ("2025-01-04", "2025-01-05"),
)


def measure(world: World) -> list[Figure]:
    """Return the figures of publishing and of the indicators."""
    run_id = world.load(SYMBOL, TIMEFRAME, *YEARS)["run_id"]
    figures = publishing.measure(world, run_id=run_id)
    return figures + indicators.measure(world, symbol=SYMBOL, timeframe=TIMEFRAME, next_days=NEXT_DAYS)
