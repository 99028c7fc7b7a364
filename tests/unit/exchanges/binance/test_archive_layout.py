"""Paths of Binance's archives and the periods that they state."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from marketlake.errors import DataError, UnknownNameError
from marketlake.exchanges.binance import archive_layout
from marketlake.instants import Window, parse_instant
from marketlake.work import Market

SPOT = Market("spot", "BTC/USDT", "BTCUSDT")
LINEAR = Market("perpetual", "BTC/USDT:USDT", "BTCUSDT")
INVERSE = Market("perpetual", "BTC/USD:BTC", "BTCUSD_PERP")
DATED = Market("future", "BTC/USD:BTC-250328", "BTCUSD_250328")
JANUARY = parse_instant("2025-01-15")


@pytest.mark.parametrize(
    ("dataset", "market", "timeframe", "period", "path"),
    [
        ("ohlcv", SPOT, "1h", "monthly", "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"),
        ("ohlcv", SPOT, "1m", "daily", "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-15.zip"),
        ("ohlcv", LINEAR, "1d", "daily", "data/futures/um/daily/klines/BTCUSDT/1d/BTCUSDT-1d-2025-01-15.zip"),
        ("ohlcv", INVERSE, "1h", "monthly", "data/futures/cm/monthly/klines/BTCUSD_PERP/1h/BTCUSD_PERP-1h-2025-01.zip"),
        ("ohlcv", DATED, "1h", "monthly",
         "data/futures/cm/monthly/klines/BTCUSD_250328/1h/BTCUSD_250328-1h-2025-01.zip"),
        ("funding_rates", LINEAR, "", "monthly",
         "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip"),
    ],
)  # fmt: skip
def test_a_path_says_market_timeframe_and_period(
    dataset: str, market: Market, timeframe: str, period: str, path: str
) -> None:
    assert archive_layout.path(dataset, market, timeframe=timeframe, period=period, start=JANUARY) == path
    assert archive_layout.window(path).start <= JANUARY < archive_layout.window(path).end


def test_every_recorded_archive_has_the_path_that_the_layout_gives(recorded_data: Path) -> None:
    root = recorded_data / "archives"
    found = {str(path.relative_to(root)) for path in (root / "data").rglob("*.zip")}
    fil = Market("perpetual", "FIL/USDT:USDT", "FILUSDT")
    spot = [("ohlcv", SPOT, "1h", f"{month}-01") for month in
            ("2024-11", "2024-12", "2025-01", "2025-02", "2025-03", "2025-04", "2025-05")]  # fmt: skip
    futures = [("ohlcv", fil, "1m", f"2023-{month}-01") for month in ("08", "09", "10", "11")]

    made = {
        archive_layout.path(dataset, market, timeframe=timeframe, period="monthly", start=parse_instant(start))
        for dataset, market, timeframe, start in spot + futures
    }

    assert made == found


def test_every_file_of_the_recorded_lists_of_reissues_names_its_period(recorded_data: Path) -> None:
    updates = recorded_data / "archives" / "updates"
    with zipfile.ZipFile(updates / "2022-04-21_aggregate_trade_updates.zip") as archive:
        listed = archive.read("2022-04-21_aggregate_trade_updates.csv").decode()
    paths = [line["File Path"] for line in csv.DictReader(io.StringIO(listed))]
    with (updates / "2022-10-04_aggregate_trade_updates.csv").open(encoding="utf-8-sig") as stream:
        paths += [f"{line['File']}.zip" for line in csv.DictReader(stream)]

    windows = [archive_layout.window(path) for path in paths]

    assert len(windows) == 360 + 132
    assert all(1 <= window.length.days <= 31 for window in windows)


def test_a_month_and_a_day_are_half_open_windows() -> None:
    assert archive_layout.window("X-1m-2024-12.zip") == Window(parse_instant("2024-12-01"), parse_instant("2025-01-01"))
    assert archive_layout.window("X-1m-2024-02-29.zip").end == parse_instant("2024-03-01")


@pytest.mark.parametrize("path", ["X-1m.zip", "X-1m-2024-13.zip", "X-1m-2023-02-29.zip", "X-1m-2024-01.csv"])
def test_a_name_without_a_period_is_refused(path: str) -> None:
    with pytest.raises(DataError, match=r"-YYYY-MM\.zip or -YYYY-MM-DD\.zip"):
        archive_layout.window(path)


def test_a_dataset_without_such_archives_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="dataset with archives"):
        archive_layout.path("news_sentiment", SPOT, timeframe="", period="daily", start=JANUARY)
    with pytest.raises(UnknownNameError, match="must be one of monthly; was 'daily'"):
        archive_layout.path("funding_rates", LINEAR, timeframe="", period="daily", start=JANUARY)
