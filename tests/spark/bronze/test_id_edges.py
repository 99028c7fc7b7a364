"""A jump of trade ids between two loads is seen by whichever comes second, and only rows beside it are read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from marketlake.instants import Window, to_epoch_ms
from marketlake.lake.files import LakeFile
from marketlake.ledger import Tile
from spark_jobs.bronze import id_edges
from tests.landed import NOW, at
from tests.spark.lake import SparkLake

START = at("2024-01-01")
SPLIT = 120


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


def trades(first: int, last: int) -> list[dict[str, Any]]:
    """A trade for each minute from the first to before the last; its id is 1000 + the minute."""
    return [
        {"a": 1000 + number, "p": "100", "q": "1", "f": number, "l": number, "T": to_epoch_ms(minute(number)),
         "m": True, "M": True}
        for number in range(first, last)
    ]  # fmt: skip


def load(lake: SparkLake, rows: list[dict[str, Any]], first: int, last: int, *, day: int = 0) -> None:
    landing = lake.landing("trades")
    landing.sealed = len(lake.connection.execute("select 1 from ops.manifests").fetchall())
    landing.rest(rows, Window(minute(first), minute(last)))
    manifest = landing.seal(now=NOW + timedelta(days=day))
    lake.load((landing, manifest))
    assert lake.state(manifest) == ("loaded", None)


def tiles(lake: SparkLake) -> list[tuple[str, int, int]]:
    def minutes_of(tile: Tile) -> tuple[int, int]:
        step = timedelta(minutes=1)
        return (tile.window.start - START) // step, (tile.window.end - START) // step

    return [(tile.state, *minutes_of(tile)) for tile in lake.tiles("trades", "ETH/USDT", "")]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_jump_between_two_loads_is_open_whichever_comes_second(lake: SparkLake, order: tuple[int, int]) -> None:
    parts = [(trades(0, SPLIT - 3), 0, SPLIT), (trades(SPLIT + 2, 240), SPLIT, 240)]

    for part in order:
        load(lake, *parts[part])

    assert tiles(lake) == [("present", 0, SPLIT - 4), ("pending", SPLIT - 4, SPLIT + 2), ("present", SPLIT + 2, 240)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_loads_whose_ids_follow_each_other_are_complete(lake: SparkLake, order: tuple[int, int]) -> None:
    parts = [(trades(0, SPLIT), 0, SPLIT), (trades(SPLIT, 240), SPLIT, 240)]

    for part in order:
        load(lake, *parts[part])

    assert tiles(lake) == [("present", 0, 240)]


def test_a_load_between_two_others_sees_both_sides_also_without_a_row_of_its_own(lake: SparkLake) -> None:
    load(lake, trades(0, 60), 0, 60)
    load(lake, trades(120, 180), 120, 180)

    load(lake, [], 60, 120)

    assert tiles(lake) == [("present", 0, 59), ("pending", 59, 120), ("present", 120, 180)]


def test_what_comes_later_closes_the_jump_and_what_stays_away_settles_it(lake: SparkLake) -> None:
    load(lake, trades(0, SPLIT - 3), 0, SPLIT)
    load(lake, trades(SPLIT + 2, 240), SPLIT, 240)
    hole = (SPLIT - 4, SPLIT + 2)

    load(lake, trades(SPLIT - 4, SPLIT), *hole, day=1)
    assert tiles(lake) == [("present", 0, SPLIT - 1), ("pending", SPLIT - 1, SPLIT + 2), ("present", SPLIT + 2, 240)]
    load(lake, trades(SPLIT - 1, SPLIT), SPLIT - 1, SPLIT + 2, day=2)
    assert tiles(lake)[1] == ("unfillable", SPLIT - 1, SPLIT + 2)
    load(lake, trades(SPLIT - 1, SPLIT + 2), SPLIT - 1, SPLIT + 2, day=3)
    assert tiles(lake) == [("present", 0, 240)]


def test_only_files_beside_the_load_are_read_however_long_the_history(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = 5
    for day in range(days):
        load(lake, trades(day * 1440, (day + 1) * 1440), day * 1440, (day + 1) * 1440)
    read = list[list[LakeFile]]()
    scan = id_edges.scan

    def counted(table: Any, dataset: Any, bounds: Any, columns: Any) -> Any:
        read.append(table.holding(bounds))
        return scan(table, dataset, bounds, columns)

    monkeypatch.setattr(id_edges, "scan", counted)
    end = days * 1440
    load(lake, trades(end, end + 60), end, end + 60)

    assert tiles(lake) == [("present", 0, end + 60)]
    assert [len(files) for files in read] == [1]
