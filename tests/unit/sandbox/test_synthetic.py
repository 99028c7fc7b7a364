"""The made-up market: one world seen through candles, trades, funding, book and archives."""

import hashlib
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest

from marketlake.errors import UnknownSymbolError, UsageError
from marketlake.sandbox import SyntheticMarket
from marketlake.sandbox.archives import parse_path, published_ms, unzipped
from marketlake.sandbox.listings import DAY_MS, SPOT, UM, Listing
from marketlake.sandbox.market import ArchivePath, Ask, Record
from tests.subprocesses import with_library

NOW = 1_738_411_231_457  # 2025-02-01 12:00:31.457
JANUARY = 1_735_689_600_000
HOUR = 3_600_000


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(7)


@pytest.fixture(scope="module")
def btc(market: SyntheticMarket) -> Listing:
    return market.listings(SPOT)["BTCUSDT"]


@pytest.fixture(scope="module")
def perpetual(market: SyntheticMarket) -> Listing:
    return market.listings(UM)["BTCUSDT"]


def path_of(text: str) -> ArchivePath:
    path = parse_path(text)
    assert path is not None
    return path


def test_the_market_of_a_seed_never_changes(market: SyntheticMarket, btc: Listing, perpetual: Listing) -> None:
    ether = market.listings(UM)["ETHUSDT"]
    assert market.klines(btc, "1h", Ask(NOW, start_ms=JANUARY, limit=1)) == [
        [JANUARY, "44302.41000000", "44315.26000000", "44080.98000000", "44152.29000000", "664.65317000",
         1735693199999, "29360832.94349680", 415, "350.46062000", "15483376.48718600", "0"]
    ]  # fmt: skip
    assert market.klines(ether, "1d", Ask(NOW, start_ms=1672531200000, limit=1)) == [
        [1672531200000, "1581.32", "1581.93", "1520.00", "1537.93", "172394.540", 1672617599999,
         "265431363.39358", 9000, "80738.117", "124365868.26000", "0"]
    ]  # fmt: skip
    assert market.funding(perpetual, Ask(NOW, start_ms=JANUARY, limit=1)) == [
        {"symbol": "BTCUSDT", "fundingRate": "0.00010000", "fundingTime": JANUARY, "markPrice": "44300.78055510"}
    ]


def test_another_process_makes_the_same_market(market: SyntheticMarket, btc: Listing) -> None:
    program = (
        "from marketlake.sandbox import SyntheticMarket; from marketlake.sandbox.market import Ask\n"
        "from marketlake.sandbox.archives import parse_path; import hashlib\n"
        "m = SyntheticMarket(7); l = m.listings('spot')['BTCUSDT']\n"
        "a = m.archive(parse_path('data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-05.zip'))\n"
        f"print(m.klines(l, '15m', Ask({NOW}, limit=100)), hashlib.sha256(a).hexdigest())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=with_library()
    ).stdout.strip()
    archive = market.archive(path_of("data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-05.zip"))
    assert archive is not None
    assert said == f"{market.klines(btc, '15m', Ask(NOW, limit=100))} {hashlib.sha256(archive).hexdigest()}"


@pytest.mark.parametrize(("seed", "more"), [(-1, 0), (2**63, 0), (7, -1), (7, 1000)])
def test_a_seed_or_size_out_of_range_is_refused(seed: int, more: int) -> None:
    with pytest.raises(UsageError, match="must be"):
        SyntheticMarket(seed, more_symbols=more)


def test_more_symbols_can_be_had() -> None:
    market = SyntheticMarket(7, more_symbols=3)
    assert market.listings(SPOT)["S003USDT"].unified == "S003/USDT"
    assert market.klines(market.listings(UM)["S001USDT"], "1h", Ask(NOW, limit=1))


class TestPages:
    def test_the_newest_page_ends_with_the_open_candle(self, market: SyntheticMarket, btc: Listing) -> None:
        rows = market.klines(btc, "1h", Ask(NOW, limit=3))
        opened = NOW // HOUR * HOUR
        assert [row[0] for row in rows] == [opened - 2 * HOUR, opened - HOUR, opened]

    def test_a_start_gives_the_oldest_rows_from_there(self, market: SyntheticMarket, btc: Listing) -> None:
        rows = market.klines(btc, "1h", Ask(NOW, start_ms=JANUARY + 1, limit=3))
        assert [row[0] for row in rows] == [JANUARY + hour * HOUR for hour in (1, 2, 3)]

    def test_both_bounds_are_inclusive(self, market: SyntheticMarket, btc: Listing) -> None:
        rows = market.klines(btc, "1h", Ask(NOW, start_ms=JANUARY, end_ms=JANUARY + 2 * HOUR, limit=500))
        assert [row[0] for row in rows] == [JANUARY + hour * HOUR for hour in (0, 1, 2)]

    def test_an_end_alone_gives_the_newest_rows_up_to_it(self, market: SyntheticMarket, btc: Listing) -> None:
        rows = market.klines(btc, "1h", Ask(NOW, end_ms=JANUARY + 2 * HOUR - 1, limit=2))
        assert [row[0] for row in rows] == [JANUARY, JANUARY + HOUR]

    def test_a_page_from_before_the_listing_begins_with_it(self, market: SyntheticMarket, btc: Listing) -> None:
        rows = market.klines(btc, "1m", Ask(NOW, start_ms=0, limit=2))
        assert rows[0][0] == btc.listed_ms
        assert market.klines(btc, "1d", Ask(NOW, start_ms=0, limit=1))[0][0] == btc.listed_ms // DAY_MS * DAY_MS

    @pytest.mark.parametrize(
        "ask", [Ask(NOW, start_ms=NOW + 1), Ask(NOW, end_ms=1_400_000_000_000), Ask(1_400_000_000_000)]
    )
    def test_there_is_nothing_in_the_future_or_before_the_listing(
        self, market: SyntheticMarket, btc: Listing, perpetual: Listing, ask: Ask
    ) -> None:
        assert market.klines(btc, "1m", ask) == []
        assert market.agg_trades(btc, ask) == []
        assert market.trades(btc, ask) == []
        assert market.funding(perpetual, ask) == []

    def test_pages_tile_the_range(self, market: SyntheticMarket, btc: Listing) -> None:
        whole = market.klines(btc, "5m", Ask(NOW, start_ms=JANUARY, limit=1000))
        tiled, start = [], JANUARY
        while len(tiled) < 1000:
            page = market.klines(btc, "5m", Ask(NOW, start_ms=start, limit=77))
            tiled += page
            start = page[-1][0] + 300_000
        assert tiled[:1000] == whole

    def test_funding_pages_tile_the_years(self, market: SyntheticMarket, perpetual: Listing) -> None:
        whole = market.funding(perpetual, Ask(NOW, start_ms=JANUARY - 365 * DAY_MS, limit=1000))
        paged, start = [], JANUARY - 365 * DAY_MS
        while page := market.funding(perpetual, Ask(NOW, start_ms=start, limit=100)):
            paged += page
            start = page[-1]["fundingTime"] + 1
        assert paged[:1000] == whole
        assert NOW - 8 * HOUR < paged[-1]["fundingTime"] <= NOW


class TestTrades:
    def test_trades_rebuild_the_candles(self, market: SyntheticMarket, btc: Listing) -> None:
        candles = market.klines(btc, "1m", Ask(NOW, start_ms=JANUARY, limit=60))
        trades: list[Record] = []
        number = market.agg_trades(btc, Ask(NOW, start_ms=JANUARY, limit=1))[0]["f"]
        while not trades or trades[-1]["time"] < JANUARY + HOUR:
            trades += market.trades(btc, Ask(NOW, from_id=number + len(trades), limit=200))
        assert [one["id"] for one in trades] == list(range(number, number + len(trades)))
        for row in candles:
            mine = [one for one in trades if row[0] <= one["time"] <= row[6]]
            prices = [Decimal(one["price"]) for one in mine]
            assert [Decimal(text) for text in row[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
            assert Decimal(row[5]) == sum(Decimal(one["qty"]) for one in mine)
            assert Decimal(row[7]) == sum(Decimal(one["quoteQty"]) for one in mine)
            assert row[8] == len(mine)
            assert Decimal(row[9]) == sum((Decimal(one["qty"]) for one in mine if not one["isBuyerMaker"]), Decimal(0))

    def test_aggregate_trades_are_the_trades_joined(self, market: SyntheticMarket, perpetual: Listing) -> None:
        joined = market.agg_trades(perpetual, Ask(NOW, start_ms=JANUARY, limit=100))
        single = market.trades(perpetual, Ask(NOW, from_id=joined[0]["f"], limit=joined[-1]["l"] - joined[0]["f"] + 1))
        for one in joined:
            parts = [trade for trade in single if one["f"] <= trade["id"] <= one["l"]]
            assert {(part["price"], part["time"], part["isBuyerMaker"]) for part in parts} == {
                (one["p"], one["T"], one["m"])
            }
            assert sum(Decimal(part["qty"]) for part in parts) == Decimal(one["q"])
            assert all(Decimal(part["qty"]) > 0 for part in parts)
        assert {one["l"] - one["f"] for one in joined} == {0, 1}

    def test_the_newest_trades_are_not_after_now(self, market: SyntheticMarket, btc: Listing) -> None:
        newest = market.trades(btc, Ask(NOW, limit=500))
        assert len(newest) == 500
        assert newest[-1]["time"] <= NOW
        later = market.trades(btc, Ask(NOW + 60_000, from_id=newest[-1]["id"] + 1, limit=1))
        assert later[0]["time"] > NOW

    @pytest.mark.parametrize("number", [0, 3, 4, 5, 1_000_003, 1_000_004])
    def test_a_trade_is_found_by_its_id(self, market: SyntheticMarket, btc: Listing, number: int) -> None:
        assert [one["id"] for one in market.trades(btc, Ask(NOW, from_id=number, limit=3))] == [
            number,
            number + 1,
            number + 2,
        ]
        assert [one["a"] for one in market.agg_trades(btc, Ask(NOW, from_id=number, limit=2))] == [number, number + 1]

    def test_an_id_of_the_future_finds_nothing(self, market: SyntheticMarket, btc: Listing) -> None:
        assert market.trades(btc, Ask(NOW, from_id=10**12)) == []

    def test_time_bounds_of_aggregate_trades_are_inclusive(self, market: SyntheticMarket, btc: Listing) -> None:
        some = market.agg_trades(btc, Ask(NOW, start_ms=JANUARY, limit=10))
        again = market.agg_trades(btc, Ask(NOW, start_ms=some[2]["T"], end_ms=some[7]["T"], limit=100))
        assert again == some[2:8]


class TestFunding:
    def test_events_come_every_eight_hours_a_little_late(self, market: SyntheticMarket, perpetual: Listing) -> None:
        times, _, _ = market.funding_events(perpetual, JANUARY, JANUARY + 30 * DAY_MS)
        late = times % (8 * HOUR)
        assert len(times) == 90
        assert 0 < late.max() <= 31
        assert (late == 0).any()

    def test_the_rate_is_the_formula_of_mark_and_index(self, market: SyntheticMarket, perpetual: Listing) -> None:
        changed = 0
        for event in market.funding(perpetual, Ask(NOW, limit=60)):
            at = event["fundingTime"] // (8 * HOUR) * (8 * HOUR)
            index = Decimal(market.premium_index(perpetual, at)["indexPrice"])
            premium = Decimal(event["markPrice"]) / index - 1
            clamp = max(Decimal("-0.0005"), min(Decimal("0.0005"), Decimal("0.0001") - premium))
            assert abs(Decimal(event["fundingRate"]) - (premium + clamp)) < Decimal("0.00000002")
            changed += event["fundingRate"] != "0.00010000"
        assert changed > 5

    def test_the_mark_price_is_where_the_perpetual_trades(self, market: SyntheticMarket, perpetual: Listing) -> None:
        for event in market.funding(perpetual, Ask(NOW, limit=30)):
            row = market.klines(perpetual, "1m", Ask(NOW, end_ms=event["fundingTime"], limit=1))[0]
            assert abs(Decimal(event["markPrice"]) / Decimal(row[1]) - 1) < Decimal("0.002")

    def test_the_premium_index_knows_the_last_event_and_the_next(
        self, market: SyntheticMarket, perpetual: Listing
    ) -> None:
        record = market.premium_index(perpetual, NOW)
        last = market.funding(perpetual, Ask(NOW, limit=1))[0]
        assert record["lastFundingRate"] == last["fundingRate"]
        assert last["fundingTime"] <= NOW < record["nextFundingTime"] <= last["fundingTime"] + 8 * HOUR

    def test_funding_begins_after_the_listing(self, market: SyntheticMarket, perpetual: Listing) -> None:
        first = market.funding(perpetual, Ask(NOW, start_ms=0, limit=1))[0]
        assert perpetual.listed_ms < first["fundingTime"] <= perpetual.listed_ms + 8 * HOUR + 31


class TestBook:
    @pytest.mark.parametrize("limit", [5, 1000])
    def test_the_ladders_are_sorted_apart_and_touch_the_last_trade(
        self, market: SyntheticMarket, btc: Listing, limit: int
    ) -> None:
        sold = set()
        for now in range(NOW, NOW + 8 * 60_000, 60_000):
            book, last = market.depth(btc, limit, now), market.agg_trades(btc, Ask(now, limit=1))[0]
            bids, asks = ([Decimal(price) for price, _ in book[side]] for side in ("bids", "asks"))
            assert len(bids) == len(asks) == limit
            assert bids == sorted(set(bids), reverse=True)
            assert asks == sorted(set(asks))
            assert bids[0] < asks[0]
            assert Decimal(last["p"]) == (bids[0] if last["m"] else asks[0])
            assert all(Decimal(amount) > 0 for side in ("bids", "asks") for _, amount in book[side])
            sold.add(last["m"])
        assert sold == {True, False}

    def test_update_ids_grow(self, market: SyntheticMarket, btc: Listing) -> None:
        ids = [market.depth(btc, 5, NOW + later)["lastUpdateId"] for later in (0, 100, 60_000)]
        assert ids == sorted(set(ids))

    def test_a_cheap_symbol_has_no_price_below_a_tick(self, market: SyntheticMarket) -> None:
        book = market.depth(market.listings(SPOT)["LRCBTC"], 5000, NOW)
        assert min(Decimal(price) for price, _ in book["bids"]) > 0


class TestArchives:
    @pytest.mark.parametrize("tree", ["spot", "futures/um"])
    @pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
    def test_klines_equal_those_of_rest(self, market: SyntheticMarket, tree: str, interval: str) -> None:
        path = path_of(f"data/{tree}/daily/klines/ETHUSDT/{interval}/ETHUSDT-{interval}-2025-01-05.zip")
        listing = market.listings(path.venue)["ETHUSDT"]
        archive = market.archive(path)
        assert archive is not None
        header, rows = unzipped(archive)
        factor = 1000 if path.venue == SPOT else 1
        rest = market.klines(listing, interval, Ask(NOW, start_ms=path.start_ms, end_ms=path.end_ms - 1, limit=1440))
        expected = [
            [str(row[0] * factor), *row[1:6], str((row[6] + 1) * factor - 1), row[7], str(row[8]), *row[9:]]
            for row in rest
        ]
        assert rows == expected
        assert header.startswith("open_time,open") == (path.venue == UM)

    def test_spot_times_are_milliseconds_up_to_2024_and_microseconds_from_2025(self, market: SyntheticMarket) -> None:
        stem = "data/spot/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-"
        rows = [market.archive_rows(path_of(f"{stem}{month}.zip")) for month in ("2024-12", "2025-01")]
        assert all(found is not None for found in rows)
        last, first = rows[0][1][-1], rows[1][1][0]  # type: ignore[index]
        assert [last[0], last[6]] == ["1735603200000", "1735689599999"]
        assert [first[0], first[6]] == ["1735689600000000", "1735775999999999"]

    def test_a_month_is_its_days(self, market: SyntheticMarket) -> None:
        monthly = market.archive_rows(path_of("data/spot/monthly/klines/XRPETH/1m/XRPETH-1m-2024-02.zip"))
        days = []
        for day in range(1, 30):
            found = market.archive_rows(path_of(f"data/spot/daily/klines/XRPETH/1m/XRPETH-1m-2024-02-{day:02d}.zip"))
            assert found is not None
            days += found[1]
        assert monthly == ("", days)

    def test_trade_files_equal_rest(self, market: SyntheticMarket, perpetual: Listing) -> None:
        path = path_of("data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-05.zip")
        found = market.archive_rows(path)
        assert found is not None
        header, rows = found
        assert header == "id,price,qty,quote_qty,time,is_buyer_maker"
        first = int(rows[0][0])
        rest = [
            one
            for page in range(5)
            for one in market.trades(perpetual, Ask(NOW, from_id=first + page * 1000, limit=1000))
        ]
        expected = [
            [str(value).lower() if isinstance(value, bool) else str(value) for value in one.values()] for one in rest
        ]
        assert rows[:5000] == expected

    def test_aggregate_trade_files_equal_rest_to_the_millisecond(self, market: SyntheticMarket, btc: Listing) -> None:
        path = path_of("data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-05.zip")
        found = market.archive_rows(path)
        assert found is not None
        header, rows = found
        rest = market.agg_trades(btc, Ask(NOW, start_ms=path.start_ms, limit=1000))
        expected = [[*map(str, list(one.values())[:5]), str(one["T"]), str(one["m"]), "True"] for one in rest]
        assert header == ""
        assert [[*row[:5], str(int(row[5]) // 1000), *row[6:]] for row in rows[:1000]] == expected
        instants = [int(row[5]) for row in rows]
        assert path.start_ms * 1000 <= min(instants)
        assert max(instants) < path.end_ms * 1000
        assert any(instant % 1000 for instant in instants)

    def test_funding_files_equal_rest(self, market: SyntheticMarket, perpetual: Listing) -> None:
        path = path_of("data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip")
        rest = market.funding(perpetual, Ask(NOW, start_ms=path.start_ms, end_ms=path.end_ms - 1, limit=1000))
        assert market.archive_rows(path) == (
            "calc_time,funding_interval_hours,last_funding_rate",
            [[str(one["fundingTime"]), "8", one["fundingRate"]] for one in rest],
        )
        assert len(rest) == 93

    @pytest.mark.parametrize(
        "path",
        [
            "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2017-07.zip",
            "data/spot/monthly/klines/NOPEUSDT/1m/NOPEUSDT-1m-2025-01.zip",
            "data/futures/um/monthly/fundingRate/XRPETH/XRPETH-fundingRate-2025-01.zip",
        ],
    )
    def test_there_is_no_file_of_what_was_not_listed(self, market: SyntheticMarket, path: str) -> None:
        assert market.archive(path_of(path)) is None
        assert market.archive_rows(path_of(path)) is None

    @pytest.mark.parametrize(
        "path", ["monthly/klines/ETHUSDT/1w/ETHUSDT-1w-2025-01", "daily/klines/ETHUSDT/3d/ETHUSDT-3d-2025-01-03"]
    )
    def test_a_file_holds_candles_that_are_closed(self, market: SyntheticMarket, path: str) -> None:
        file = path_of(f"data/spot/{path}.zip")
        found = market.archive_rows(file)
        rows = [] if found is None else found[1]
        assert all(int(row[6]) < published_ms(file) * 1000 for row in rows)
        listing = market.listings(SPOT)["ETHUSDT"]
        assert file.timeframe is not None
        rest = market.klines(
            listing, file.timeframe, Ask(NOW + 30 * DAY_MS, start_ms=file.start_ms, limit=len(rows) or 1)
        )
        assert [row[1:6] for row in rows] == [row[1:6] for row in rest][: len(rows)]

    def test_the_month_of_the_listing_begins_with_it(self, market: SyntheticMarket, btc: Listing) -> None:
        found = market.archive_rows(path_of("data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2017-08.zip"))
        assert found is not None
        assert int(found[1][0][0]) == btc.listed_ms


class TestTruth:
    def test_candles_come_as_exact_decimals(self, market: SyntheticMarket, btc: Listing) -> None:
        table = market.candles("BTC/USDT", "1h", "2025-01-01", "2025-01-02")
        rows = market.klines(btc, "1h", Ask(NOW, start_ms=JANUARY, limit=24))
        assert table.num_rows == 24
        assert [str(one) for one in table["open_time"].to_pylist()[:1]] == ["2025-01-01 00:00:00+00:00"]
        assert table["close"].to_pylist() == [Decimal(row[4]) for row in rows]
        assert table["taker_buy_quote_volume"].to_pylist() == [Decimal(row[10]) for row in rows]
        assert table["trade_count"].to_pylist() == [row[8] for row in rows]

    def test_funding_comes_as_exact_decimals(self, market: SyntheticMarket, perpetual: Listing) -> None:
        table = market.funding_rates("BTC/USDT:USDT", "2025-01-01", "2025-01-03")
        rows = market.funding(perpetual, Ask(NOW, start_ms=JANUARY, limit=6))
        assert table["funding_rate"].to_pylist() == [Decimal(row["fundingRate"]) for row in rows]

    def test_a_symbol_that_is_not_listed_is_named(self, market: SyntheticMarket) -> None:
        with pytest.raises(UnknownSymbolError, match="DOGE/EUR"):
            market.candles("DOGE/EUR", "1h", "2025-01-01", "2025-01-02")


def test_eight_years_of_days_are_whole(market: SyntheticMarket, btc: Listing) -> None:
    table = market.candles("BTC/USDT", "1d", "2017-08-17", "2025-01-01")
    opens = np.array([int(one.timestamp()) for one in table["open_time"].to_pylist()])
    assert (np.diff(opens) == 86_400).all()
    assert opens[0] * 1000 == btc.listed_ms // DAY_MS * DAY_MS
