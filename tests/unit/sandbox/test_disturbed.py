"""The market through the faults: pages over gaps, archives with their checksums, symbols that end."""

import hashlib
from typing import Any

import pytest

from marketlake.instants import format_instant, from_epoch_ms
from marketlake.sandbox import SyntheticMarket
from marketlake.sandbox.archives import parse_path, unzipped
from marketlake.sandbox.disturbed import DisturbedMarket
from marketlake.sandbox.faults import Faults
from marketlake.sandbox.listings import SPOT, UM, Listing
from marketlake.sandbox.market import ArchivePath, Ask

NOW = 1_738_411_231_457  # 2025-02-01 12:00:31.457
JANUARY = 1_735_689_600_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BASE = SyntheticMarket(7)


@pytest.fixture
def market() -> DisturbedMarket:
    return DisturbedMarket(BASE, Faults())


@pytest.fixture
def btc() -> Listing:
    return BASE.listings(SPOT)["BTCUSDT"]


@pytest.fixture
def perpetual() -> Listing:
    return BASE.listings(UM)["BTCUSDT"]


def path_of(text: str) -> ArchivePath:
    path = parse_path(f"data/{text}.zip")
    assert path is not None
    return path


HOURLY = path_of("spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-05")
FUNDING = path_of("futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01")


def published(market: DisturbedMarket, path: ArchivePath) -> tuple[bytes, str]:
    """The zip and the digest that the CHECKSUM file names."""
    pristine = market.pristine_archive(path)
    assert pristine is not None
    digest = market.checksum(path, pristine).decode().split("  ")[0]
    content = market.archive(path)
    assert content is not None
    return content, digest


def test_without_faults_every_answer_is_the_markets_own(
    market: DisturbedMarket, btc: Listing, perpetual: Listing
) -> None:
    ask = Ask(NOW, limit=50)
    assert market.klines(btc, "5m", ask) == BASE.klines(btc, "5m", ask)
    assert market.funding(perpetual, ask) == BASE.funding(perpetual, ask)
    assert market.trades(btc, ask) == BASE.trades(btc, ask)
    assert market.agg_trades(btc, ask) == BASE.agg_trades(btc, ask)
    assert market.depth(btc, 5, NOW) == BASE.depth(btc, 5, NOW)
    assert market.premium_index(perpetual, NOW) == BASE.premium_index(perpetual, NOW)
    assert market.exchange_info(SPOT, NOW) == BASE.exchange_info(SPOT, NOW)
    content, digest = published(market, HOURLY)
    assert content == BASE.archive(HOURLY)
    assert hashlib.sha256(content).hexdigest() == digest


class TestPages:
    def test_a_gap_is_not_a_short_page(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("gaps", symbol="BTC/USDT", start="2025-01-01T00:10:00Z", end="2025-01-01T03:00:00Z")
        rows = market.klines(btc, "1m", Ask(NOW, start_ms=JANUARY, limit=30))
        assert [(row[0] - JANUARY) // MINUTE for row in rows] == [*range(10), *range(180, 200)]

    def test_a_gap_up_to_the_end_ends_the_page(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("gaps", start="2025-01-01T00:10:00Z", end="2025-03-01")
        ask = Ask(NOW, start_ms=JANUARY, end_ms=JANUARY + HOUR, limit=1000)
        assert len(market.klines(btc, "1m", ask)) == 10
        assert market.klines(btc, "1m", Ask(NOW, limit=10)) == []

    def test_scattered_gaps_fill_the_page_from_behind(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("gaps", probability=0.2, seed=3)
        rows = market.klines(btc, "1m", Ask(NOW, start_ms=JANUARY, limit=500))
        whole = BASE.klines(btc, "1m", Ask(NOW, start_ms=JANUARY, limit=1000))
        assert len(rows) == 500
        assert [row for row in whole if row[0] in {one[0] for one in rows}] == rows
        assert 90 < (rows[-1][0] - JANUARY) // MINUTE + 1 - 500 < 170

    def test_gaps_of_one_source_are_not_those_of_the_other(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("gaps", source="archive", start="2025-01-05", end="2025-01-05T12:00:00Z")
        assert len(market.klines(btc, "1h", Ask(NOW, start_ms=HOURLY.start_ms, limit=24))) == 24
        assert len(unzipped(published(market, HOURLY)[0])[1]) == 12

    def test_a_page_overlaps_the_one_before(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("page_overlap", rows=3)
        rows = market.klines(btc, "1m", Ask(NOW, start_ms=JANUARY, limit=5))
        assert [(row[0] - JANUARY) // MINUTE for row in rows] == [-3, -2, -1, 0, 1, 2, 3, 4]

    def test_the_open_candle_ends_a_page_that_is_about_the_past(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("open_candle")
        rows = market.klines(btc, "1h", Ask(NOW, start_ms=JANUARY, end_ms=JANUARY + HOUR, limit=10))
        assert [row[0] for row in rows] == [JANUARY, JANUARY + HOUR, NOW // HOUR * HOUR]
        assert [row[0] for row in market.klines(btc, "1h", Ask(NOW, limit=2))][-1] == NOW // HOUR * HOUR

    def test_silence_is_an_empty_page_so_many_times(
        self, market: DisturbedMarket, btc: Listing, perpetual: Listing
    ) -> None:
        market.faults.add("silence", endpoint="klines", times=1)
        assert market.klines(btc, "1h", Ask(NOW)) == []
        assert market.klines(btc, "1h", Ask(NOW))
        market.faults.add("silence")
        assert market.funding(perpetual, Ask(NOW)) == []
        assert market.trades(btc, Ask(NOW)) == []
        assert market.agg_trades(btc, Ask(NOW)) == []

    def test_duplicates_and_disorder_come_after_what_is_missing(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("duplicates", start="2025-01-01T00:01:00Z", end="2025-01-01T00:02:00Z")
        market.faults.add("disorder")
        rows = market.klines(btc, "1m", Ask(NOW, start_ms=JANUARY, limit=4))
        assert [(row[0] - JANUARY) // MINUTE for row in rows] == [3, 2, 1, 1, 0]

    def test_a_restated_candle_is_restated_for_its_timeframe_alone(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("restated_candle", timeframe="1h", start="2025-01-01", end="2025-01-01T01:00:00Z", by_pct=1)
        ask = Ask(NOW, start_ms=JANUARY, limit=2)
        was, now = BASE.klines(btc, "1h", ask), market.klines(btc, "1h", ask)
        assert (was[0][4] != now[0][4], was[1] == now[1]) == (True, True)
        assert market.klines(btc, "1m", ask) == BASE.klines(btc, "1m", ask)


class TestArchives:
    @pytest.mark.parametrize(
        ("name", "parameters"),
        [
            ("gaps", {"start": "2025-01-05T02:00:00Z", "end": "2025-01-05T04:00:00Z"}),
            ("duplicates", {}),
            ("disorder", {}),
            ("restated_candle", {"probability": 0.5}),
            ("archive_reissued", {}),
            ("unreadable_number", {"probability": 0.5}),
            ("unit_switch", {"unit": "ms"}),
            ("delisting", {"at": "2025-01-05T12:00:00Z"}),
        ],
    )
    def test_a_changed_file_is_published_with_its_own_checksum(
        self, market: DisturbedMarket, name: str, parameters: dict[str, Any]
    ) -> None:
        market.faults.add(name, **parameters)
        content, digest = published(market, HOURLY)
        assert content != BASE.archive(HOURLY)
        assert hashlib.sha256(content).hexdigest() == digest
        assert unzipped(content)[1] != unzipped(BASE.archive(HOURLY) or b"")[1]

    def test_a_fault_that_changes_no_row_changes_no_byte(self, market: DisturbedMarket) -> None:
        market.faults.add("gaps", start="2025-01-05T00:30:00Z", end="2025-01-05T00:31:00Z")
        content, digest = published(market, HOURLY)
        assert content == BASE.archive(HOURLY)
        assert hashlib.sha256(content).hexdigest() == digest

    def test_a_wrong_checksum_fits_nothing(self, market: DisturbedMarket) -> None:
        market.faults.add("wrong_checksum", times=1)
        content, digest = published(market, HOURLY)
        assert digest == "0" * 64
        assert published(market, HOURLY) == (content, hashlib.sha256(content).hexdigest())

    @pytest.mark.parametrize(("checksum", "fits"), [("damaged", True), ("original", False)])
    def test_a_damaged_zip_is_cut_off(self, market: DisturbedMarket, checksum: str, fits: bool) -> None:
        market.faults.add("damaged_zip", keep_pct=30, checksum=checksum)
        content, digest = published(market, HOURLY)
        whole = BASE.archive(HOURLY) or b""
        assert content == whole[: int(len(whole) * 0.3)]
        assert (hashlib.sha256(content).hexdigest() == digest) is fits

    def test_a_reissued_archive_differs_from_rest(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("archive_reissued", field="volume", start="2025-01-05", end="2025-01-05T01:00:00Z")
        rows = unzipped(published(market, HOURLY)[0])[1]
        rest = market.klines(btc, "1h", Ask(NOW, start_ms=HOURLY.start_ms, limit=24))
        assert [row[5] != one[5] for row, one in zip(rows, rest, strict=True)] == [True] + [False] * 23

    def test_faults_of_rows_leave_trade_files_alone(self, market: DisturbedMarket) -> None:
        path = path_of("spot/daily/trades/XRPETH/XRPETH-trades-2025-01-05")
        market.faults.add("duplicates")
        assert published(market, path)[0] == BASE.archive(path)


class TestEndsAndChanges:
    def test_a_delisted_symbol_has_no_data_from_then_on(self, market: DisturbedMarket, btc: Listing) -> None:
        market.faults.add("delisting", symbol="BTC/USDT", at="2025-01-05T12:00:00Z")
        at = 1_736_078_400_000
        assert market.klines(btc, "1h", Ask(NOW, limit=1))[0][0] == at - HOUR
        assert market.klines(btc, "1h", Ask(NOW, start_ms=at)) == []
        assert market.agg_trades(btc, Ask(NOW, limit=1))[0]["T"] < at
        assert len(unzipped(published(market, HOURLY)[0])[1]) == 12
        assert market.archive(path_of("spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-06")) is None
        assert market.klines(BASE.listings(SPOT)["ETHUSDT"], "1h", Ask(NOW, limit=1))[0][0] == NOW // HOUR * HOUR

    @pytest.mark.parametrize(
        ("symbol", "venue", "status"), [("BTC/USDT", SPOT, "BREAK"), ("BTC/USDT:USDT", UM, "SETTLING")]
    )
    def test_the_instrument_list_says_so_from_then_on(
        self, market: DisturbedMarket, symbol: str, venue: str, status: str
    ) -> None:
        market.faults.add("delisting", symbol=symbol, at="2025-01-05")

        def statuses(venue: str, now: int) -> dict[str, str]:
            return {one["symbol"]: one["status"] for one in market.exchange_info(venue, now)["symbols"]}

        assert statuses(venue, NOW)["BTCUSDT"] == status
        assert statuses(venue, NOW)["ETHUSDT"] == "TRADING"
        assert statuses(UM if venue == SPOT else SPOT, NOW)["BTCUSDT"] == "TRADING"
        assert statuses(venue, JANUARY)["BTCUSDT"] == "TRADING"

    def test_funding_is_paid_at_the_new_interval_from_then_on(
        self, market: DisturbedMarket, perpetual: Listing
    ) -> None:
        market.faults.add("funding_interval_change", symbol="BTC/USDT:USDT", at="2025-01-10", hours=2)
        at = 1_736_467_200_000
        events = market.funding(perpetual, Ask(NOW, start_ms=at - DAY, limit=15))
        assert [round((one["fundingTime"] - at) / HOUR) for one in events] == [-24, -16, -8, *range(0, 24, 2)]
        newest = market.funding(perpetual, Ask(NOW, limit=3))
        assert newest[-1]["fundingTime"] - newest[-2]["fundingTime"] < 2 * HOUR + 100
        rows = unzipped(published(market, FUNDING)[0])[1]
        assert [row[1] for row in rows].count("8") == 27
        assert [row[1] for row in rows].count("2") == 22 * 12
        rest = market.funding(perpetual, Ask(NOW, start_ms=JANUARY, end_ms=FUNDING.end_ms - 1, limit=1000))
        assert [(row[0], row[2]) for row in rows] == [(str(one["fundingTime"]), one["fundingRate"]) for one in rest]

    def test_gaps_hit_funding_too(self, market: DisturbedMarket, perpetual: Listing) -> None:
        market.faults.add("gaps", start="2025-01-02", end="2025-01-03")
        events = market.funding(perpetual, Ask(NOW, start_ms=JANUARY, limit=6))
        assert [(one["fundingTime"] - JANUARY) // DAY for one in events] == [0, 0, 0, 2, 2, 2]
        assert len(unzipped(published(market, FUNDING)[0])[1]) == 90


TRADES = path_of("spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-05")


def instant(ms: int) -> str:
    return format_instant(from_epoch_ms(ms))


def ids(rows: list[Any]) -> list[int]:
    return [row["a"] for row in rows]


@pytest.mark.parametrize("by_id", [False, True])
def test_a_page_of_trades_goes_on_behind_a_gap_by_number(market: DisturbedMarket, btc: Listing, by_id: bool) -> None:
    start = JANUARY + 4 * DAY
    whole = BASE.agg_trades(btc, Ask(NOW, start_ms=start, limit=500))
    first, last = whole[3]["T"], whole[9]["T"]
    market.faults.add("gaps", symbol="BTCUSDT", endpoint="aggTrades", start=instant(first), end=instant(last + 1))

    bounds = {"from_id": whole[0]["a"]} if by_id else {"start_ms": start}
    page = market.agg_trades(btc, Ask(NOW, limit=20, **bounds))

    assert ids(page) == [row["a"] for row in whole if not first <= row["T"] <= last][:20]


def test_an_archive_of_trades_shows_restated_values_and_gaps(market: DisturbedMarket) -> None:
    pristine = market.pristine_archive(TRADES)
    assert pristine is not None
    rows = unzipped(pristine)[1]
    market.faults.add("gaps", symbol="BTCUSDT", endpoint="aggTrades", start="2025-01-05", end="2025-01-05T01:00:00Z")
    market.faults.add("restated_candle", symbol="BTCUSDT", endpoint="aggTrades", field="price", start="2025-01-05")

    found = unzipped(published(market, TRADES)[0])[1]

    kept = [row for row in rows if int(row[5]) // 1000 >= JANUARY + 4 * DAY + HOUR]
    assert [row[0] for row in found] == [row[0] for row in kept]
    assert all(new[1] != old[1] and new[2:] == old[2:] for new, old in zip(found, kept, strict=True))
