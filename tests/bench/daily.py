"""What a scheduled day costs: a run that has nothing to do, and a warm daily run from plan to gold."""

from __future__ import annotations

from tests.bench.figures import Figure, seconds_of
from tests.bench.worlds import spark_start_seconds
from tests.world import World

SYMBOLS = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")


def day(world: World, start: str, end: str) -> dict[str, object]:
    """Run two symbols over six timeframes for one day, plan to gold."""
    document = world.succeed("run", "--dataset", "ohlcv", *SYMBOLS, "--start", start, "--end", end, "--build")
    assert isinstance(document, dict)
    return document


def measure(world: World) -> list[Figure]:
    """Return the figures of an idle and of a daily run, beside one bare Spark start."""
    spark = spark_start_seconds(world)
    for start, end in (("2025-03-01", "2025-03-02"), ("2025-03-02", "2025-03-03")):
        day(world, start, end)
    daily = seconds_of(lambda: day(world, "2025-03-03", "2025-03-04"))
    idle = seconds_of(lambda: day(world, "2025-03-03", "2025-03-04"), times=3)
    return [
        Figure(
            "nothing to do / bare Spark start", idle / spark, 0.5, "lower", f"{idle:.1f} s, a Spark start {spark:.1f} s"
        ),
        Figure(
            "daily run, 2 symbols × 6 timeframes, plan to gold / bare Spark start",
            daily / spark,
            6.0,
            "lower",
            f"{daily:.1f} s",
        ),
    ]
