"""Show 6: the ledger rebuilt, in its own Postgres and in an empty one, is the ledger that there was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.lake import Lake
from marketlake.sandbox import SyntheticMarket
from tests.acceptance.conftest import MakeWorld
from tests.databases import environment_of, fresh_database
from tests.ledgers import ledger_content
from tests.world import World

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1800)]

DAY = ("2025-03-03", "2025-03-04")
TIMEFRAMES = tuple(text for timeframe in ("1m", "15m", "1h", "4h") for text in ("--timeframe", timeframe))
NARROW = '[{"symbol": "SOL/USDT", "low": 0.01, "high": 0.02}]'
FAULTS = {
    "hole": ("gaps", "ETHUSDT", "1m", "2025-03-03T10:07:00Z", "2025-03-03T10:31:00Z", {}),
    "reissued": ("archive_reissued", "BTCUSDT", "15m", "2025-03-03T23:45:00Z", "2025-03-04T00:00:00Z", {}),
    "retracted": ("gaps", "BTCUSDT", "15m", "2025-03-03T10:00:00Z", "2025-03-03T10:15:00Z", {"source": "archive"}),
    "restated": ("restated_candle", "BTCUSDT", "1h", "2025-03-03T05:00:00Z", "2025-03-03T06:00:00Z",
                 {"source": "rest"}),
    "unreadable": ("unreadable_number", "BTCUSDT", "1h", "2025-03-03T02:00:00Z", "2025-03-03T03:00:00Z", {}),
    "missing": ("gaps", "BTCUSDT", "4h", "2025-03-03T08:00:00Z", "2025-03-03T12:00:00Z", {}),
}  # fmt: skip


def break_(world: World, name: str) -> None:
    kind, symbol, timeframe, start, end, more = FAULTS[name]
    world.sandbox.faults.add(kind, symbol=symbol, timeframe=timeframe, start=start, end=end, **more)


@pytest.fixture(scope="module")
def told(make_world: MakeWorld) -> World:
    """A lake with revisions, a retraction, sources at odds, rebuilt candles, a refused market and holes."""
    world = make_world(SyntheticMarket(11), "2025-03-05T06:00:00Z")
    window = ("--start", DAY[0], "--end", DAY[1])
    both = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    for name in ("hole", "unreadable", "missing"):
        break_(world, name)
    world.succeed("run", *TIMEFRAMES, *both, *window)
    world.succeed("run", "--dataset", "trades", "--symbol", "ETH/USDT", *window)
    world.load("KEEP/USDT:USDT", "4h", "2021-06-19", "2021-06-21")  # listed on the second day
    for name in ("reissued", "retracted", "restated"):
        break_(world, name)
    world.sandbox.set_clock("2025-03-06T07:00:00Z")
    world.succeed("run", *TIMEFRAMES, *both, *window, "--check-reissued")
    world.sandbox.set_clock("2025-03-07T07:00:00Z")
    world.load("BTC/USDT", "1h", *DAY, "--timeframe", "4h", "--source", "rest")
    refused = ("run", "--symbol", "SOL/USDT", "--timeframe", "1m", *window, "--build")
    assert world.command(*refused, environ={"MARKETLAKE__QUALITY__PRICE_BOUNDS": NARROW}).code == 1
    return world


@pytest.fixture
def empty(told: World, postgres_server: PostgresAddress) -> Iterator[World]:
    """The same lake with a Postgres that holds nothing."""
    with fresh_database(postgres_server) as address:
        yield World(told.sandbox, told.home, {**told.environ, **environment_of(address)})


def content(world: World) -> dict[str, Any]:
    with world.database() as connection:
        return ledger_content(connection)


def known_then(world: World) -> list[bytes]:
    """The bytes of `as_of` reads at the instants after each load."""
    instants = [at for (at,) in world.rows("select distinct known_at from ops.loads where known_at is not null")]
    lake, found = Lake(world.home), []
    for instant in sorted(instants):
        for symbol, timeframe in (("BTC/USDT", "15m"), ("BTC/USDT", "1h"), ("ETH/USDT", "1m")):
            table = lake.candles(symbol, timeframe, *DAY, exact=True, as_of=instant)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            found.append(sink.getvalue().to_pybytes())
    return found


def versions_of_rows(world: World) -> list[tuple[Any, ...]]:
    """What Postgres writes anew when a row is touched, for each row of bronze."""
    return world.rows("select xmin::text, open_time, symbol, timeframe from bronze.ohlcv order by 2, 3, 4")


def test_the_lake_holds_every_kind_of_fact(told: World) -> None:
    states = {state for (state,) in told.rows("select distinct state from ops.coverage")}
    assert states >= {"present", "unfillable", "rejected", "failed", "not_listed"}
    causes = {cause for (cause,) in told.rows("select distinct cause from ops.coverage")}
    assert causes >= {"retracted", "attempts", "refused"}
    assert told.rows("select count(*) from bronze.ohlcv where source = 'rebuilt'") == [(24,)]
    assert told.rows("select count(*) > 0 from ops.source_disagreements") == [(True,)]
    assert Lake(told.home).query("select max(revision) as n from bronze.ohlcv").to_pylist() == [{"n": 1}]


def test_rebuilt_in_place_it_says_the_same_and_changes_no_row(told: World) -> None:
    before, digests, then, rows = content(told), told.digests(), known_then(told), versions_of_rows(told)
    newest = told.succeed("ledger", "show")["newest_publication"]
    for point in ("rebuild.told", "rebuild.before_commit"):
        killed = told.command("ledger", "rebuild", "--yes", environ={"MARKETLAKE_CRASH_AT": point})
        assert killed.code < 0, killed.err
        assert content(told) == before

    rebuilt = told.succeed("ledger", "rebuild", "--yes")

    assert (rebuilt["lost_loads"], rebuilt["waiting"], rebuilt["damaged"]) == (0, 0, [])
    assert content(told) == before
    told.succeed("step", "build")
    shown = told.succeed("ledger", "show")
    assert shown["newest_publication"] > newest
    assert (shown["changes_unpublished"], shown["built_until"]) == (0, shown["newest_publication"])
    assert versions_of_rows(told) == rows
    assert (told.digests(), known_then(told)) == (digests, then)


def test_rebuilt_into_an_empty_postgres_it_says_the_same_and_every_layer_comes_back(told: World, empty: World) -> None:
    before, digests, then = content(told), told.digests(), known_then(told)

    empty.succeed("ledger", "rebuild", "--yes")
    assert content(empty) == before
    empty.succeed("step", "build")

    assert (empty.digests(), known_then(empty)) == (digests, then)
    told.sandbox.clear_requests()
    versions = empty.bronze_versions()
    again = empty.load("BTC/USDT", "15m", *DAY)
    assert (again["plan"]["tasks"], empty.bronze_versions()) == (0, versions)
    empty.succeed("ledger", "rebuild", "--yes")
    assert content(empty) == before


def test_a_restored_table_is_loaded_again_and_every_layer_holds_the_right_rows(told: World) -> None:
    told.load("SOL/USDT", "1m", *DAY, "--build")  # judged again, now by the rules that judge the others
    digests, coverage = told.digests(), content(told)["coverage"]
    [first] = [
        entry for entry in told.succeed("tables", "history", "bronze.ohlcv", "--limit", "0") if entry["load_id"]
    ][-1:]

    lost = told.succeed("tables", "restore", "bronze.ohlcv", "--version", str(first["version"]), "--yes")

    assert lost["lost_rows"] > 0
    told.sandbox.clear_requests()
    told.load("BTC/USDT", "15m", *DAY, "--build")
    assert told.sandbox.requests(prefix="/api/v3/klines") == []
    assert told.digests() == digests
    # Loaded again, the same ranges are settled for the same reasons, by loads of another id.
    assert [row[:9] for row in content(told)["coverage"]] == [row[:9] for row in coverage]
