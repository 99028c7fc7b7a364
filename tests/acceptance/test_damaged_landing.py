"""What lands and is damaged before its load is refused, fetched again by the next run, and said so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark]

CLOCK = "2025-03-05T06:00:00Z"
WINDOW = ("--start", "2025-03-03", "--end", "2025-03-05T05:00:00Z")
RUN = ("run", "--dataset", "ohlcv", "--exchange", "binance", "--symbol", "BTC/USDT", "--timeframe", "1h", *WINDOW)
COUNT = "select source, count(*) from bronze.ohlcv group by 1 order by 1"


def flip(path: Path) -> None:
    """Change one byte in the middle, so that the size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def damage(world: World, how: str) -> None:
    folder = world.root / "landing" / "binance" / "ohlcv"
    [archive], [segment] = folder.glob("archives/**/*.zip"), folder.glob("rest/**/*.jsonl")
    [manifest] = folder.glob("manifests/*.json")
    if how == "flipped":
        flip(archive)
        flip(segment)
    elif how == "lost":
        archive.unlink()
    else:
        manifest.write_text(manifest.read_text()[:100])


@pytest.mark.parametrize("how", ["flipped", "lost", "manifest"])
def test_damaged_files_are_refused_and_their_window_is_fetched_again(make_world: MakeWorld, how: str) -> None:
    world = make_world(SyntheticMarket(29), CLOCK)
    killed = world.command(*RUN, "--json", environ={"MARKETLAKE_CRASH_AT": "load.after_audit"})
    assert killed.code == 1
    damage(world, how)

    found = world.command(*RUN, "--json")

    document = json.loads(found.out)
    assert (found.code, document["plan"]["tasks"]) == (1, 0)
    [told] = document["damaged"]
    assert (told["is_open"], told["is_fetched_again"]) == (True, False)
    assert "is damaged and was not loaded" in found.err
    assert "clear plan_fetches" in found.err
    assert world.rows("select state, count(*) from ops.manifests group by 1") == [("damaged", 1)]
    assert world.succeed("coverage") == [] or world.succeed("coverage")[0]["present"] == 0

    again = world.succeed(*RUN)

    [told] = again["damaged"]
    assert (told["is_open"], told["is_fetched_again"]) == (False, True)
    assert told["text"].endswith("its windows were fetched again")
    assert world.rows(COUNT) == [("archive", 24), ("rest", 29)]
    assert world.succeed("coverage")[0]["missing"] == 0
    assert world.succeed(*RUN)["damaged"] == []
