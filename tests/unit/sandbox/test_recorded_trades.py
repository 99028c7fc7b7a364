"""The recorded trades over REST: each once, with its text, by id and by time."""

import gzip
import json
from pathlib import Path

import pytest

from marketlake.errors import DataError
from marketlake.sandbox import RecordedMarket, SyntheticMarket
from marketlake.sandbox.listings import SPOT, UM
from marketlake.sandbox.market import Ask, Record

NOW = 1_790_000_000_000  # September 2026, after the last recorded row
FIRST_ID, LAST_ID = 13_519_807, 13_532_283


@pytest.fixture(scope="module")
def market(recorded_data: Path) -> RecordedMarket:
    return RecordedMarket(recorded_data)


@pytest.fixture(scope="module")
def recorded(recorded_data: Path) -> list[Record]:
    """The aggregate trades as the exchange's own REST objects."""
    [file] = (recorded_data / "trades").glob("binance-spot/XRPETH-aggTrades-*.raw.jsonl.gz")
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def xrpeth(market: RecordedMarket, **ask: int) -> list[Record]:
    return market.agg_trades(market.listings(SPOT)["XRPETH"], Ask(NOW, **ask))


def test_every_aggregate_trade_comes_once_as_the_exchange_sent_it(
    market: RecordedMarket, recorded: list[Record]
) -> None:
    served, number = [], 0
    while page := xrpeth(market, from_id=number, limit=1000):
        served += page
        number = page[-1]["a"] + 1
    assert len(served) == 12_477
    assert json.dumps(served) == json.dumps(recorded)


def test_pages_by_time_are_inclusive_and_begin_with_the_oldest(market: RecordedMarket, recorded: list[Record]) -> None:
    start, end = recorded[100]["T"], recorded[160]["T"]
    inside = [one for one in recorded if start <= one["T"] <= end]
    assert xrpeth(market, start_ms=start, end_ms=end, limit=1000) == inside
    assert xrpeth(market, start_ms=start, end_ms=end, limit=5) == inside[:5]
    assert xrpeth(market, start_ms=recorded[-1]["T"] + 1) == []


def test_without_a_start_the_newest_come(market: RecordedMarket, recorded: list[Record]) -> None:
    assert xrpeth(market, limit=3) == recorded[-3:]
    assert xrpeth(market, end_ms=recorded[50]["T"], limit=3)[-1]["T"] == recorded[50]["T"]


def test_pages_by_id_begin_with_the_id_or_the_next_that_there_is(market: RecordedMarket) -> None:
    assert [one["a"] for one in xrpeth(market, from_id=FIRST_ID + 5, limit=2)] == [FIRST_ID + 5, FIRST_ID + 6]
    assert xrpeth(market, from_id=0, limit=1)[0]["a"] == FIRST_ID
    assert [one["a"] for one in xrpeth(market, from_id=LAST_ID, limit=9)] == [LAST_ID]
    assert xrpeth(market, from_id=LAST_ID + 1) == []


def test_no_trade_is_given_before_it_happened(market: RecordedMarket, recorded: list[Record]) -> None:
    now = recorded[100]["T"] - 1
    past = [one for one in recorded if one["T"] <= now]
    listing = market.listings(SPOT)["XRPETH"]
    assert market.agg_trades(listing, Ask(now, limit=1000)) == past
    assert market.agg_trades(listing, Ask(now, from_id=0, limit=1000)) == past
    assert market.agg_trades(listing, Ask(now, start_ms=now + 1, limit=1000)) == []


def test_single_trades_come_with_null_for_what_was_not_recorded(market: RecordedMarket) -> None:
    listing = market.listings(SPOT)["BTCUSDT"]
    rows = market.trades(listing, Ask(NOW, from_id=0, limit=5000))
    assert [one["id"] for one in rows] == list(range(553287559, 553287559 + 2001))
    assert rows[0] == {
        "id": 553287559, "price": "39432.48", "qty": "0.000263", "quoteQty": None, "time": 1610064000278,
        "isBuyerMaker": True, "isBestMatch": None,
    }  # fmt: skip
    assert market.trades(listing, Ask(NOW, limit=1)) == rows[-1:]


def test_records_have_the_synthetic_markets_names_and_types(market: RecordedMarket, recorded: list[Record]) -> None:
    synthetic = SyntheticMarket()
    btc, ask = synthetic.listings(SPOT)["BTCUSDT"], Ask(NOW, limit=1)
    [agg], [single] = synthetic.agg_trades(btc, ask), synthetic.trades(btc, ask)
    mine = market.trades(market.listings(SPOT)["BTCUSDT"], ask)[0]
    assert list(recorded[0]) == list(agg)
    assert [type(one) for one in xrpeth(market, limit=1)[0].values()] == [type(one) for one in agg.values()]
    assert list(mine) == list(single)
    assert all(value is None or type(value) is type(single[name]) for name, value in mine.items())


def test_markets_without_recorded_trades_have_none(market: RecordedMarket) -> None:
    assert market.agg_trades(market.listings(SPOT)["BTCUSDT"], Ask(NOW)) == []
    assert market.trades(market.listings(SPOT)["XRPETH"], Ask(NOW)) == []
    perpetual = market.listings(UM)["BTCUSDT"]
    assert (market.agg_trades(perpetual, Ask(NOW)), market.trades(perpetual, Ask(NOW))) == ([], [])


class TestAFolderOfItsOwn:
    @pytest.fixture
    def folder(self, tmp_path: Path, recorded_data: Path) -> Path:
        (tmp_path / "rest").symlink_to(recorded_data / "rest")
        (tmp_path / "klines").mkdir()
        (tmp_path / "trades" / "binance-um").mkdir(parents=True)
        return tmp_path

    def write(self, folder: Path, name: str, *lines: str) -> None:
        with gzip.open(folder / "trades" / "binance-um" / name, "wt") as target:
            target.write("".join(f"{line}\n" for line in lines))

    def test_perpetuals_have_a_header_and_no_best_match(self, folder: Path) -> None:
        header = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
        self.write(folder, "NEWUSDT-aggTrades-2025-01-02.csv.gz", header, "8,1.50,2,11,12,1735776000000,false")
        self.write(folder, "NEWUSDT-aggTrades-2025-01-01.csv.gz", header, "7,1.5,2,9,10,1735689600000,true")
        market = RecordedMarket(folder)
        rows = market.agg_trades(market.listings(UM)["NEWUSDT"], Ask(NOW))
        assert rows == [
            {"a": 7, "p": "1.5", "q": "2", "f": 9, "l": 10, "T": 1735689600000, "m": True},
            {"a": 8, "p": "1.50", "q": "2", "f": 11, "l": 12, "T": 1735776000000, "m": False},
        ]

    def test_files_that_overlap_give_each_trade_once(self, folder: Path) -> None:
        line = "7,1.5,2,9,10,1735689600000,true"
        self.write(folder, "NEWUSDT-aggTrades-a.csv.gz", line)
        self.write(folder, "NEWUSDT-aggTrades-b.csv.gz", line, "8,1.5,2,11,11,1735689600000,true")
        market = RecordedMarket(folder)
        assert [one["a"] for one in market.agg_trades(market.listings(UM)["NEWUSDT"], Ask(NOW))] == [7, 8]

    @pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"7,1.5\n" * 9)[:-9], gzip.compress(b"7,1.5\n")])
    def test_a_damaged_record_is_named(self, folder: Path, content: bytes) -> None:
        (folder / "trades" / "binance-um" / "NEWUSDT-aggTrades-2025.csv.gz").write_bytes(content)
        market = RecordedMarket(folder)
        with pytest.raises(DataError, match=r"NEWUSDT-aggTrades-2025.csv.gz cannot be read"):
            market.agg_trades(market.listings(UM)["NEWUSDT"], Ask(NOW))
