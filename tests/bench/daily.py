"""What a scheduled day costs: a run that has nothing to do, and a warm daily run from plan to gold."""

from __future__ import annotations

from itertools import pairwise

from tests.bench.figures import Figure, median, seconds_of
from tests.bench.worlds import spark_start_seconds
from tests.world import World

SYMBOLS = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
# Two that warm up, and those that count.
DAYS = ("2025-02-27", "2025-02-28", "2025-03-01", "2025-03-02", "2025-03-03", "2025-03-04")
WARM_UP = 2


def day(world: World, start: str, end: str) -> dict[str, object]:
    """Run two symbols over six timeframes for one day, plan to gold."""
    document = world.succeed("run", "--dataset", "ohlcv", *SYMBOLS, "--start", start, "--end", end, "--build")
    assert isinstance(document, dict)
    return document


def idle_day(world: World, start: str, end: str) -> None:
    """Run a day that is loaded and built already: nothing is fetched and no JVM starts."""
    results = day(world, start, end)["results"]
    assert isinstance(results, dict)
    assert results["load_bronze"]["manifests"] == 0
    assert "dbt_staging" not in results


def measure(world: World) -> list[Figure]:
    """Return the figures of an idle and of a daily run, beside one bare Spark start."""
    spark = spark_start_seconds(world)
    taken = [seconds_of(lambda days=days: day(world, *days)) for days in pairwise(DAYS)][WARM_UP:]
    idle = seconds_of(lambda: idle_day(world, *DAYS[-2:]), times=3)
    daily = median(taken)
    return [
        Figure(
            "nothing to do / bare Spark start",
            idle / spark,
            0.5,
            "lower",
            f"{idle:.1f} s, a Spark start {spark:.1f} s; medians of 3",
        ),
        Figure(
            "daily run, 2 symbols × 6 timeframes, plan to gold / bare Spark start",
            daily / spark,
            6.0,
            "lower",
            f"{daily:.1f} s; median of {len(taken)} days",
        ),
    ]
