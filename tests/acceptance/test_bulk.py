"""Every recorded archive, and every recorded candle file packed as archives, loaded in bulk and compared row by row."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from marketlake.embedded_postgres import PostgresAddress
from marketlake.instants import from_epoch_ms
from marketlake.work import Market
from tests.landed import Landing, zip_of
from tests.spark.both_ways import BothWays, paths, two_lakes

pytestmark = [pytest.mark.spark]

KLINES = (
    "binance-spot/15m/BTCUSDT-15m-2024-12-30_2026-04-30",
    "binance-spot/15m/SOLUSDT-15m-2024-12-30_2026-04-30",
    "binance-spot/1h/BTCUSDT-1h-2022-01-01_2026-04-30",
    "binance-spot/1m/BTCUSDT-1m-2021-03-26_2021-04-30",
    "binance-spot/1m/BTCUSDT-1m-2022-06-15_2022-07-19",
    "binance-spot/1m/BTCUSDT-1m-2024-07-26_2024-08-25",
    "binance-spot/1m/BTCUSDT-1m-2025-01-01_2025-02-04",
    "binance-spot/1m/ETHUSDT-1m-2021-08-09_2021-09-13",
    "binance-spot/1m/ETHUSDT-1m-2024-07-26_2024-08-25",
    "binance-spot/1m/XRPETH-1m-2019-10-11_2019-10-13",
    "binance-spot/2h/BTCUSDT-2h-2017-08-17_2026-04-30",
    "binance-spot/2h/ETHUSDT-2h-2017-08-17_2026-04-30",
    "binance-spot/5m/XRPETH-5m-2019-10-11_2019-10-13",
    "binance-um/5m/BTCUSDT-5m-2023-01-01_2024-05-14",
    "bitfinex-spot/1m/BTCUSD-1m-2016",
    "bittrex-spot/5m/DASHBTC-5m-2018-01-10_2018-01-30",
    "bittrex-spot/5m/TRXBTC-5m-2018-01-10_2018-01-30",
    "bybit-linear/1m/ADAUSDT-1m-2024-09-08_2025-09-07",
    "bybit-linear/5m/BTCUSDT-5m-2025-04-03_2025-07-02",
)
QUOTES = ("USDT", "USD", "ETH", "BTC")


@pytest.fixture(scope="module")
def lakes(
    spark: SparkSession, postgres_server: PostgresAddress, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BothWays]:
    """Lakes that hold more with each file: what they hold already is compared."""
    folder = tmp_path_factory.mktemp("lakes")
    with pytest.MonkeyPatch.context() as patch, two_lakes(spark, postgres_server, folder, patch) as both:
        yield both


@pytest.fixture
def empty_lakes(
    spark: SparkSession, postgres_server: PostgresAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BothWays]:
    """Lakes for the archives, whose months the candle files have too."""
    with two_lakes(spark, postgres_server, tmp_path, monkeypatch) as both:
        yield both


def market_of(code: str, folder: str = "spot") -> Market:
    quote = next(quote for quote in QUOTES if code.endswith(quote))
    symbol = f"{code.removesuffix(quote)}/{quote}"
    return Market("spot", symbol, code) if folder == "spot" else Market("perpetual", f"{symbol}:{quote}", code)


def test_the_list_is_what_is_recorded(recorded_data: Path) -> None:
    found = {str(path.relative_to(recorded_data / "klines")) for path in recorded_data.glob("klines/*/*/*.csv.gz")}
    assert found == {f"{name}.csv.gz" for name in KLINES}


def test_the_recorded_archives_load_alike(empty_lakes: BothWays, recorded_data: Path) -> None:
    archives = sorted((recorded_data / "archives" / "data").rglob("*.zip"))

    def put(landing: Landing) -> None:
        for path in archives:
            code, timeframe, _ = path.name.split("-", 2)
            below = str(path.relative_to(recorded_data / "archives"))
            landing.archive(path, below, market=market_of(code, below.split("/")[1]), timeframe=timeframe)

    done = empty_lakes.load(put)

    assert paths(*done) == ["bulk", "plain"]
    assert [record.appended_rows for record in done] == [180_768, 180_768]
    empty_lakes.assert_equal()


@pytest.mark.parametrize("name", KLINES)
def test_a_recorded_candle_file_packed_as_archives_loads_alike(
    lakes: BothWays, recorded_data: Path, tmp_path: Path, name: str
) -> None:
    code, timeframe = Path(name).name.split("-")[:2]
    with gzip.open(recorded_data / "klines" / f"{name}.csv.gz", "rt") as lines:
        rows = lines.read().splitlines()[1:]

    def put(landing: Landing) -> None:
        for month, of_month in groupby(rows, key=lambda row: f"{from_epoch_ms(int(row.split(',')[0])):%Y-%m}"):
            archive = zip_of(tmp_path, f"{code}-{timeframe}-{month}", of_month)
            below = f"data/spot/monthly/klines/{code}/{timeframe}/{archive.name}"
            landing.archive(archive, below, market=market_of(code), timeframe=timeframe)

    done = lakes.load(put)

    assert paths(*done) == ["bulk", "plain"]
    assert {record.typed_rows + record.collapsed_rows for record in done} == {len(rows)}
    lakes.assert_equal()
