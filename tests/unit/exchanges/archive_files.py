"""Small archives for tests: zips with CSVs as the exchange writes them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from marketlake.instants import Window, parse_instant
from marketlake.work import Answer, LandedFile, Market

RECEIVED = parse_instant("2025-03-01T00:00:00Z")
MONTH = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"
FUNDING = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01.zip"
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
FIRST_MS = 1735689600000


def row(open_ms: int = FIRST_MS, *, unit: int = 1, **changes: str) -> str:
    """One line of an archive; `unit` 1000 writes microseconds."""
    close = open_ms * unit + 3_600_000 * unit - 1
    values = {
        "open_time": str(open_ms * unit), "open": "93576.00000000", "high": "94509.42", "low": "93489.03",
        "close": "94401.14", "volume": "755.99010000", "close_time": str(close), "quote_volume": "71068810.5594638",
        "count": "93525", "taker_buy_volume": "421.08319", "taker_buy_quote_volume": "39596777.7799259", "ignore": "0",
    }  # fmt: skip
    return ",".join({**values, **changes}.values())


def zip_bytes(text: str, name: str = "BTCUSDT-1h-2025-01.csv", *, stored: bool = False) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text.encode("utf-8", "surrogateescape"))
    return target.getvalue()


def write_zip(folder: Path, text: str, **options: bool) -> Path:
    path = folder / "archive.zip"
    path.write_bytes(zip_bytes(text, **options))
    return path


def landed(source_ref: str = MONTH, *, format: str = "archive_zip") -> LandedFile:
    return LandedFile("x.zip", "", 0, "", source_ref, RECEIVED, format)


def answer(timeframe: str = "1h") -> Answer:
    over = Window(parse_instant("2025-01-01"), parse_instant("2025-02-01"))
    return Answer("t", Market("spot", "BTC/USDT", "BTCUSDT"), timeframe, "archive", over, "answered", RECEIVED)
