"""The recorded files, loaded through the whole path, give exactly the rows and holes that are known to be in them."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketlake.instants import Window, format_instant, from_epoch_ms
from marketlake.sandbox import RecordedMarket
from marketlake.timeframes import TIMEFRAMES, timeframe_length
from tests.acceptance.conftest import AFTER_THE_RECORDINGS, MakeWorld
from tests.world import World

pytestmark = [pytest.mark.spark]

SYMBOLS = {"BTCUSDT": "BTC/USDT", "ETHUSDT": "ETH/USDT", "SOLUSDT": "SOL/USDT", "XRPETH": "XRP/ETH"}
# Days around the four known outages of the exchange, with the lengths of the holes in candles.
OUTAGES = {
    ("BTC/USDT", "1m"): ("2021-04-19", "2021-04-27", (150, 284)),
    ("ETH/USDT", "1m"): ("2021-08-12", "2021-08-15", (270,)),
    ("BTC/USDT", "1h"): ("2023-03-24", "2023-03-25", (1,)),
}
DAYS = ("2026-05-02", "2026-05-03", "2026-05-04")


def recorded_files(recorded_data: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the spot kline files of a timeframe that the dataset has, with symbol and timeframe."""
    for path in sorted((recorded_data / "klines" / "binance-spot").glob("*/*.csv.gz")):
        if path.parent.name in TIMEFRAMES:
            yield path, SYMBOLS[path.name.split("-")[0]], path.parent.name


def open_times(path: Path) -> list[int]:
    with gzip.open(path, "rt") as lines:
        return [int(row["open_time"]) for row in csv.DictReader(lines)]


def archive_rows(path: Path) -> int:
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as lines:
        return sum(line[:1].isdigit() for line in io.TextIOWrapper(lines))


def window_of(path: Path, timeframe: str) -> Window:
    times = open_times(path)
    return Window(from_epoch_ms(times[0]), from_epoch_ms(times[-1]) + timeframe_length(timeframe))


def load_file(world: World, path: Path, symbol: str, timeframe: str, *more: str) -> None:
    window = window_of(path, timeframe)
    world.load(symbol, timeframe, format_instant(window.start), format_instant(window.end), *more)


def states(world: World, symbol: str, timeframe: str) -> Counter[tuple[str, int]]:
    """Return how many holes there are of each state and length in candles."""
    found = world.rows(
        "select state, extract(epoch from range_end - range_start)::int from ops.coverage"
        " where dataset = 'ohlcv' and symbol = %s and timeframe = %s and state <> 'present'",
        symbol,
        timeframe,
    )
    length = int(timeframe_length(timeframe).total_seconds())
    return Counter((state, seconds // length) for state, seconds in found)


def reported(world: World, symbol: str, timeframe: str) -> tuple[int, Counter[tuple[str, int]]]:
    """Return what `marketlake coverage` shows of a market: missing candles, and its holes by state and length."""
    [market] = world.succeed("coverage", "--dataset", "ohlcv", "--symbol", symbol, "--timeframe", timeframe)
    assert market["expected"] - market["present"] == market["missing"]
    return market["missing"], Counter((hole["state"], hole["missing"]) for hole in market["holes"])


def shown(world: World, *arguments: str) -> list[dict[str, object]]:
    return list(world.succeed("gaps", *arguments))


@pytest.fixture(scope="module")
def loaded(recorded_world: World, recorded_data: Path) -> World:
    """Every recorded file of the datasets loaded once, archives where there are any."""
    for path, symbol, timeframe in recorded_files(recorded_data):
        load_file(recorded_world, path, symbol, timeframe)
    recorded_world.load("FIL/USDT:USDT", "1m", "2023-08-01", "2023-12-01")
    for symbol, start, end in (
        ("BTC/USDT:USDT", "2022-01-01", "2025-10-27T16:01:00Z"),
        ("ETH/USDT:USDT", "2023-01-01", "2024-05-14T00:01:00Z"),
        ("XRP/USDT:USDT", "2021-11-18", "2021-12-18T00:01:00Z"),
    ):
        recorded_world.load(symbol, None, start, end)
    return recorded_world


def test_every_recorded_row_is_loaded_and_none_rejected(loaded: World, recorded_data: Path) -> None:
    expected: Counter[tuple[str, str]] = Counter()
    for path, symbol, timeframe in recorded_files(recorded_data):
        expected[symbol, timeframe] += len(open_times(path))
    archives = sorted((recorded_data / "archives" / "data").rglob("*.zip"))
    assert sum(expected.values()) == 420_861
    assert (len(archives), sum(map(archive_rows, archives))) == (11, 180_768)
    expected["FIL/USDT:USDT", "1m"] = 175_680

    query = "select symbol, timeframe, count(*) from bronze.ohlcv group by 1, 2"
    assert {(symbol, timeframe): count for symbol, timeframe, count in loaded.rows(query)} == expected
    assert loaded.rows("select sum(rejected_rows) from ops.loads where step = 'loaded'") == [(0,)]


def test_funding_events_are_loaded_once(loaded: World) -> None:
    query = "select symbol, count(*) from bronze.funding_rates group by 1"
    assert dict(loaded.rows(query)) == {"BTC/USDT:USDT": 4_188, "ETH/USDT:USDT": 1_498, "XRP/USDT:USDT": 91}
    # Every revision of every source, in Delta: nothing was appended twice.
    stored = loaded.succeed("sql", "select symbol, count(*) as events from bronze.funding_rates group by 1")
    assert {row["symbol"]: row["events"] for row in stored} == dict(loaded.rows(query))
    late = "select max(funding_time_raw - funding_time) from bronze.funding_rates"
    assert loaded.rows(late)[0][0].microseconds == 31_000


def test_known_outages_settle_at_once(loaded: World) -> None:
    assert states(loaded, "BTC/USDT", "1m") == {("exchange_down", 150): 1, ("exchange_down", 284): 1}
    assert states(loaded, "ETH/USDT", "1m") == {("exchange_down", 270): 1}
    assert states(loaded, "BTC/USDT", "1h") == {("exchange_down", 1): 1}


def test_coverage_shows_exactly_the_known_holes(loaded: World) -> None:
    assert reported(loaded, "BTC/USDT", "1m") == (434, {("exchange_down", 150): 1, ("exchange_down", 284): 1})
    assert reported(loaded, "ETH/USDT", "1m") == (270, {("exchange_down", 270): 1})
    assert reported(loaded, "BTC/USDT", "1h") == (1, {("exchange_down", 1): 1})
    [hour] = loaded.succeed("coverage", "--dataset", "ohlcv", "--symbol", "BTC/USDT", "--timeframe", "1h")
    assert [hole["start"] for hole in hour["holes"]] == ["2023-03-24T13:00:00Z"]
    missing, one = reported(loaded, "XRP/ETH", "1m")
    assert (missing, sum(one.values())) == (1_091, 676)
    missing, five = reported(loaded, "XRP/ETH", "5m")
    assert (missing, sum(five.values())) == (6, 6)


def test_milliseconds_and_microseconds_join_without_a_seam(loaded: World) -> None:
    query = (
        "select count(*), count(distinct open_time) from bronze.ohlcv where symbol = 'BTC/USDT' and timeframe = '1h'"
        " and open_time >= '2024-11-01Z' and open_time < '2025-06-01Z' and source = 'archive'"
    )
    assert loaded.rows(query) == [(5_088, 5_088)]


def test_unknown_holes_become_unfillable_after_three_attempts_on_three_days(loaded: World, recorded_data: Path) -> None:
    files = [entry for entry in recorded_files(recorded_data) if entry[1] == "XRP/ETH"]
    for day in DAYS:
        loaded.sandbox.set_clock(f"{day}T12:00:00Z")
        for path, symbol, timeframe in files:
            load_file(loaded, path, symbol, timeframe)
    one, five = states(loaded, "XRP/ETH", "1m"), states(loaded, "XRP/ETH", "5m")
    assert {state for state, _ in one} == {state for state, _ in five} == {"unfillable"}
    assert (sum(one.values()), sum(length * count for (_, length), count in one.items())) == (676, 1_091)
    assert five == {("unfillable", 1): 6}
    gaps = shown(loaded, "--symbol", "XRP/ETH", "--timeframe", "1m")
    assert (len(gaps), {gap["status"] for gap in gaps}) == (676, {"unfillable"})


def test_a_settled_hole_is_not_asked_for_again(loaded: World, recorded_data: Path) -> None:
    path, symbol, timeframe = next(entry for entry in recorded_files(recorded_data) if entry[1:] == ("XRP/ETH", "5m"))
    loaded.sandbox.clear_requests()
    load_file(loaded, path, symbol, timeframe)
    assert loaded.sandbox.requests(prefix="/api/v3/klines") == []


def test_with_an_empty_calendar_outages_too_need_three_attempts(make_world: MakeWorld, recorded_data: Path) -> None:
    world = make_world(
        RecordedMarket(recorded_data), AFTER_THE_RECORDINGS, MARKETLAKE__QUALITY__OUTAGE_CALENDAR="false"
    )
    for count, day in enumerate(DAYS, start=1):
        world.sandbox.set_clock(f"{day}T12:00:00Z")
        state = "unfillable" if count == 3 else "pending"
        for (symbol, timeframe), (start, end, lengths) in OUTAGES.items():
            world.load(symbol, timeframe, start, end)
            holes = {(state, length): 1 for length in lengths}
            assert states(world, symbol, timeframe) == holes
            assert reported(world, symbol, timeframe) == (sum(lengths), holes)
        # Asking again on the same day is no further attempt.
        world.load("BTC/USDT", "1m", *OUTAGES["BTC/USDT", "1m"][:2])
        assert states(world, "BTC/USDT", "1m") == {(state, 150): 1, (state, 284): 1}


@pytest.mark.parametrize("order", [("archive", "rest"), ("rest", "archive")])
def test_archive_and_rest_give_the_same_current_rows_in_either_order(
    make_world: MakeWorld, recorded_data: Path, order: tuple[str, str]
) -> None:
    world = make_world(RecordedMarket(recorded_data), AFTER_THE_RECORDINGS)
    path, symbol, timeframe = next(entry for entry in recorded_files(recorded_data) if entry[1:] == ("BTC/USDT", "1h"))
    for source in order:
        if source == "rest":
            load_file(world, path, symbol, timeframe, "--source", "rest")
        else:
            world.load(symbol, timeframe, "2024-11-01", "2025-06-01", "--source", "archive")

    assert world.rows("select count(*) from bronze.ohlcv") == [(37_923,)]
    assert world.rows("select count(*) from ops.source_disagreements") == [(0,)]
    # Archives rank above REST, so they are current in their months whichever came first, and say the same.
    assert world.rows("select count(*) from bronze.ohlcv where source = 'archive'") == [(5_088,)]
    both = "select count(*) from (select open_time from bronze.ohlcv group by 1 having count(distinct digest) > 1)"
    assert [list(row.values()) for row in world.succeed("sql", both)] == [[0]]
    appended = "select count(*) as rows from bronze.ohlcv where source = 'rest'"
    assert world.succeed("sql", appended) == [{"rows": 37_923 if order[0] == "rest" else 37_923 - 5_088}]
