"""A replaced archive (ING-14): every layer follows it, what was known before stays readable; two sources at odds."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from marketlake.lake import Lake
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark]

CLOCK = "2025-03-05T06:00:00Z"
DAY = ("2025-03-03", "2025-03-04")
MARKET = ("BTC/USDT", "1m")
GONE = datetime(2025, 3, 3, 10, tzinfo=UTC)
LAST = datetime(2025, 3, 3, 23, 59, tzinfo=UTC)
OF_BTC = {"symbol": "BTCUSDT", "timeframe": "1m"}


def candles(world: World, **options: Any) -> dict[datetime, Decimal]:
    table = Lake(world.home).candles(*MARKET, *DAY, exact=True, columns=["open_time", "close"], **options)
    return {row["open_time"]: row["close"] for row in table.to_pylist()}


def silver(world: World) -> dict[datetime, float]:
    rows = world.rows(
        "select open_time, close from silver.market_data_enriched where symbol = %s and timeframe = %s", *MARKET
    )
    return {time: float(close) for time, close in rows}


def gold(world: World) -> tuple[float, float]:
    ((close, coverage),) = world.rows("select close, coverage from gold.mart_market_daily where symbol = 'BTC/USDT'")
    return float(close), float(coverage)


def test_a_replaced_archive_is_followed_by_every_layer(make_world: MakeWorld) -> None:
    world = make_world(SyntheticMarket(23), CLOCK)
    world.load(*MARKET, *DAY, "--build")
    before, then = candles(world), world.rows("select max(known_at) from ops.loads")[0][0]
    assert gold(world) == (pytest.approx(float(before[LAST])), 1.0)
    world.sandbox.faults.add("archive_reissued", start="2025-03-03T23:59:00Z", end="2025-03-04T00:00:00Z", **OF_BTC)
    world.sandbox.faults.add(
        "gaps", start="2025-03-03T10:00:00Z", end="2025-03-03T10:01:00Z", source="archive", **OF_BTC
    )

    world.load(*MARKET, *DAY, "--check-reissued", "--build")

    now = candles(world)
    assert (set(before) - set(now), now[LAST] != before[LAST]) == ({GONE}, True)
    assert {time for time in now if now[time] != before[time]} == {LAST}
    assert candles(world, as_of=then) == before
    assert silver(world) == pytest.approx({time: float(close) for time, close in now.items()})
    assert gold(world) == (pytest.approx(float(now[LAST])), pytest.approx(1439 / 1440))
    found = "select state, cause from ops.coverage where range_start = %s and timeframe = '1m'"
    assert world.rows(found, GONE) == [("unfillable", "retracted")]
    kinds = world.rows("select distinct kind from ops.loads where step = 'loaded' order by 1")
    assert kinds == [("load",), ("reissue:1",)]

    versions = world.bronze_versions()
    world.load(*MARKET, *DAY, "--check-reissued", "--build")
    assert world.bronze_versions() == versions


def test_one_disagreement_adds_one_row_and_not_one_a_day(make_world: MakeWorld) -> None:
    world = make_world(SyntheticMarket(23), CLOCK)
    hourly = ("BTC/USDT", "1h")
    world.load(*hourly, *DAY)
    world.sandbox.faults.add(
        "restated_candle",
        symbol="BTCUSDT",
        timeframe="1h",
        start="2025-03-03T05:00:00Z",
        end="2025-03-03T06:00:00Z",
        source="rest",
    )

    counts = []
    for day in (5, 6, 7):
        world.sandbox.set_clock(f"2025-03-{day:02}T07:00:00Z")
        world.load(*hourly, *DAY, "--source", "rest")
        counts.append(Lake(world.home).query("select count(*) as n from bronze.ohlcv").to_pylist()[0]["n"])

    assert counts == [25, 25, 25]
    assert world.rows("select count(distinct key_at) from ops.source_disagreements") == [(1,)]
