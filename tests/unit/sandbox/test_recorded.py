"""The recorded market: every text as recorded, holes as holes, nothing that was not recorded."""

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from marketlake.errors import DataError, UsageError
from marketlake.sandbox import RecordedMarket
from marketlake.sandbox.archives import parse_path, unzipped
from marketlake.sandbox.listings import SPOT, UM
from marketlake.sandbox.market import Ask

NOW = 1_790_000_000_000  # September 2026, after the last recorded row
HOUR = 3_600_000


@pytest.fixture(scope="module")
def market(recorded_data: Path) -> RecordedMarket:
    return RecordedMarket(recorded_data)


def read(file: Path) -> list[list[str]]:
    with gzip.open(file, "rt", newline="") as lines:
        return list(csv.reader(lines))[1:]


@pytest.mark.parametrize(
    "name", ["binance-spot/1m/XRPETH", "binance-spot/15m/SOLUSDT", "binance-spot/1h/BTCUSDT", "binance-um/5m/BTCUSDT"]
)
def test_every_recorded_candle_comes_once_with_its_text(market: RecordedMarket, recorded_data: Path, name: str) -> None:
    [file] = (recorded_data / "klines").glob(f"{name}-*.csv.gz")
    rows, listing = read(file), market.listings(name[8:].split("/")[0])[name.split("/")[2]]
    served, start = [], 0
    while page := market.klines(listing, file.parent.name, Ask(NOW, start_ms=start, limit=1000)):
        served += page
        start = page[-1][0] + 1
    assert [["" if field is None else str(field) for field in row] for row in served] == rows
    assert all(field is None or isinstance(field, int) for row in served for field in (row[0], row[6], row[8]))
    assert all(row[place] is None or isinstance(row[place], str) for row in served for place in (1, 5, 7, 9, 11))


def test_every_recorded_file_is_served_whole(market: RecordedMarket, recorded_data: Path) -> None:
    files = sorted((recorded_data / "klines").glob("binance-*/*/*.csv.gz"))
    assert len(files) == 14
    for file in files:
        first, *_, last = (row.split(b",")[0].decode() for row in gzip.decompress(file.read_bytes()).splitlines()[1:])
        symbol = market.listings(file.parts[-3][8:])[file.name.split("-")[0]].unified
        end = datetime.fromtimestamp(int(last) / 1000 + 1, UTC)
        table = market.candles(symbol, file.parent.name, datetime.fromtimestamp(int(first) / 1000, UTC), end)
        assert table.num_rows == gzip.decompress(file.read_bytes()).count(b"\n") - 1, file.name


def test_files_of_one_market_are_one_series(market: RecordedMarket) -> None:
    listing = market.listings(SPOT)["BTCUSDT"]
    pages = [market.klines(listing, "1m", Ask(NOW, start_ms=start, limit=1)) for start in (0, 1_655_000_000_000)]
    assert [page[0][0] for page in pages] == [1616727600000, 1655262000000]
    assert market.klines(listing, "1m", Ask(NOW, limit=1))[0][0] == 1738700340000


@pytest.mark.parametrize(("symbol", "events"), [("BTCUSDT", 4188), ("ETHUSDT", 1498), ("XRPUSDT", 91)])
def test_every_recorded_funding_event_comes_once_with_its_text(
    market: RecordedMarket, recorded_data: Path, symbol: str, events: int
) -> None:
    rows = [row for file in sorted((recorded_data / "funding").glob(f"*/{symbol}-*.csv.gz")) for row in read(file)]
    served, start = [], 0
    while page := market.funding(market.listings(UM)[symbol], Ask(NOW, start_ms=start, limit=1000)):
        served += page
        start = page[-1]["fundingTime"] + 1
    assert len(served) == events
    assert [[one["symbol"], str(one["fundingTime"]), one["fundingRate"]] for one in served] == [row[:3] for row in rows]
    assert {one["markPrice"] for one in served} == {None}


def test_the_outage_of_2023_is_one_missing_candle(market: RecordedMarket) -> None:
    noon = 1679659200000
    listing = market.listings(SPOT)["BTCUSDT"]
    rows = market.klines(listing, "1h", Ask(NOW, start_ms=noon, limit=2))
    assert [row[0] for row in rows] == [noon, noon + 2 * HOUR]
    assert rows[0][5:9] == ["0.00000000", 1679661581646, "0.00000000", 0]


def test_nothing_is_given_before_it_is_closed(market: RecordedMarket) -> None:
    listing = market.listings(SPOT)["BTCUSDT"]
    noon = 1_738_411_200_000
    assert market.klines(listing, "1h", Ask(noon - 1, limit=1))[0][0] == noon - 2 * HOUR
    assert market.klines(listing, "1h", Ask(noon, limit=1))[0][0] == noon - HOUR
    assert market.klines(listing, "1h", Ask(noon + 1, start_ms=noon, limit=1)) == []


def test_a_market_that_was_not_recorded_has_no_rows(market: RecordedMarket) -> None:
    assert market.klines(market.listings(SPOT)["BTCUSDT"], "4h", Ask(NOW)) == []
    assert market.klines(market.listings(SPOT)["LTCBTC"], "1h", Ask(NOW)) == []
    assert market.funding(market.listings(UM)["LTCUSDT"], Ask(NOW)) == []
    assert market.depth(market.listings(SPOT)["BTCUSDT"], 5, NOW)["bids"] == []


def test_archives_are_the_recorded_files_and_nothing_else(market: RecordedMarket, recorded_data: Path) -> None:
    root = recorded_data / "archives"
    files = sorted(root.glob("data/**/*.zip"))
    assert len(files) == 11
    for file in files:
        path = parse_path(file.relative_to(root).as_posix())
        assert path is not None
        content = market.archive(path)
        assert content == file.read_bytes()
        assert market.checksum(path, content) == Path(f"{file}.CHECKSUM").read_bytes()
        assert market.archive_rows(path) == unzipped(content)
    absent = parse_path("data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip")
    assert absent is not None
    assert (market.archive(absent), market.archive_rows(absent)) == (None, None)


def test_symbols_with_recorded_data_are_all_listed(market: RecordedMarket) -> None:
    assert {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPETH"} <= set(market.listings(SPOT))
    assert {"BTCUSDT", "ETHUSDT", "XRPUSDT", "FILUSDT"} <= set(market.listings(UM))
    assert market.listings(SPOT)["BTCUSDT"].price_digits == 2


def test_a_symbol_missing_in_the_list_is_added_in_its_shape(tmp_path: Path, recorded_data: Path) -> None:
    (tmp_path / "rest").symlink_to(recorded_data / "rest")
    folder = tmp_path / "klines" / "binance-um" / "1h"
    folder.mkdir(parents=True)
    with gzip.open(folder / "NEWUSDT-1h-2025.csv.gz", "wt") as target:
        target.write("open_time,…\n1735689600000,1,1,1,1,5,,,,,,0\n")
    market = RecordedMarket(tmp_path)
    entries = {one["symbol"]: one for one in market.exchange_info(UM, NOW)["symbols"]}
    assert list(entries["NEWUSDT"]) == list(entries["BTCUSDT"])
    assert market.listings(UM)["NEWUSDT"].unified == "NEW/USDT:USDT"
    assert len(market.klines(market.listings(UM)["NEWUSDT"], "1h", Ask(NOW))) == 1


def test_the_last_funding_rate_is_the_recorded_one(market: RecordedMarket) -> None:
    record = market.premium_index(market.listings(UM)["BTCUSDT"], NOW)
    assert (record["lastFundingRate"], record["markPrice"]) == ("0.00007304", None)


def test_truth_is_a_table_with_nulls_where_nothing_was_recorded(market: RecordedMarket) -> None:
    table = market.candles("BTC/USDT", "1m", "2025-01-02", "2025-01-03")
    assert table.num_rows == 1440
    assert table["quote_volume"].null_count == 1440
    assert table["open"].null_count == 0
    whole = market.candles("BTC/USDT", "1h", "2025-01-02", "2025-01-03")
    assert whole["quote_volume"].null_count == 0


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has none: name it by --data"):
        RecordedMarket(tmp_path)
    (tmp_path / "klines").mkdir()
    with pytest.raises(UsageError, match=r"needs the instrument list .*exchangeInfo"):
        RecordedMarket(tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path, recorded_data: Path) -> None:
    (tmp_path / "rest").symlink_to(recorded_data / "rest")
    folder = tmp_path / "klines" / "binance-spot" / "1h"
    folder.mkdir(parents=True)
    (folder / "BTCUSDT-1h-2025.csv.gz").write_bytes(b"not gzip")
    market = RecordedMarket(tmp_path)
    with pytest.raises(DataError, match=r"BTCUSDT-1h-2025.csv.gz cannot be read"):
        market.klines(market.listings(SPOT)["BTCUSDT"], "1h", Ask(NOW))
