"""Addresses of the archive tree, publication instants, CSV, zip and CHECKSUM."""

import hashlib
from datetime import UTC, datetime

import pytest

from marketlake.sandbox import archives
from marketlake.sandbox.listings import SPOT, UM


def instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@pytest.mark.parametrize(
    ("path", "venue", "dataset", "timeframe", "start", "end"),
    [
        ("spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12", SPOT, "klines", "1h", "2024-12-01", "2025-01-01"),
        ("spot/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2024-12", SPOT, "klines", "1M", "2024-12-01", "2025-01-01"),
        ("spot/daily/trades/BTCUSDT/BTCUSDT-trades-2024-02-29", SPOT, "trades", None, "2024-02-29", "2024-03-01"),
        ("futures/um/daily/aggTrades/X/X-aggTrades-2024-12-31", UM, "aggTrades", None, "2024-12-31", "2025-01-01"),
        ("futures/um/monthly/fundingRate/X/X-fundingRate-2024-11", UM, "fundingRate", None, "2024-11-01", "2024-12-01"),
    ],
)  # fmt: skip
def test_an_address_is_understood(
    path: str, venue: str, dataset: str, timeframe: str | None, start: str, end: str
) -> None:
    found = archives.parse_path(f"data/{path}.zip")
    assert found is not None
    assert (found.venue, found.dataset, found.timeframe) == (venue, dataset, timeframe)
    assert [f"{instant(one):%Y-%m-%d}" for one in (found.start_ms, found.end_ms)] == [start, end]


@pytest.mark.parametrize(
    "path",
    [
        "spot/monthly/klines/BTCUSDT/BTCUSDT-1h-2024-12",
        "spot/monthly/klines/BTCUSDT/1h/ETHUSDT-1h-2024-12",
        "spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1m-2024-12",
        "spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12-01",
        "spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12",
        "spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-02-30",
        "spot/daily/klines/BTCUSDT/7m/BTCUSDT-7m-2024-02-01",
        "spot/monthly/klines/BTCUSDT/1M/BTCUSDT-1M-2024-02",
        "spot/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-12",
        "futures/um/daily/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-12-01",
        "futures/cm/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12-01",
        "spot/monthly/depth/BTCUSDT/BTCUSDT-depth-2024-12",
        "../etc/passwd",
    ],
)
def test_an_address_where_no_file_can_be_is_not(path: str) -> None:
    assert archives.parse_path(f"data/{path}.zip") is None


@pytest.mark.parametrize(
    ("path", "published"),
    [
        ("daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-31", "2025-02-01T08:00"),
        ("monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01", "2025-02-03T08:00"),
        ("monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-08", "2024-09-02T08:00"),
        ("monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-06", "2024-07-01T08:00"),
    ],
)
def test_a_day_is_published_the_next_morning_and_a_month_on_a_monday(path: str, published: str) -> None:
    found = archives.parse_path(f"data/spot/{path}.zip")
    assert found is not None
    assert f"{instant(archives.published_ms(found)):%Y-%m-%dT%H:%M}" == published


def test_a_zip_holds_its_csv_and_is_the_same_every_time() -> None:
    path = archives.parse_path("data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-31.zip")
    assert path is not None
    content = archives.csv_of_rows("a,b", [["1", "2"], ["3", "4"]])
    assert content == b"a,b\n1,2\n3,4\n"
    zipped = archives.zipped(path, content)
    assert zipped == archives.zipped(path, content)
    assert archives.unzipped(zipped) == ("a,b", [["1", "2"], ["3", "4"]])
    line = archives.checksum_line(path, zipped).decode()
    assert line == f"{hashlib.sha256(zipped).hexdigest()}  BTCUSDT-1h-2025-01-31.zip\n"


def test_a_csv_without_header_has_none() -> None:
    assert archives.csv_of_rows("", [["1", "2"]]) == b"1,2\n"
