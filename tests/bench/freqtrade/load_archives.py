"""Load daily archives of 1m candles with freqtrade, in its own environment: download, clean, store as Feather.

Called with the exchange's address, the market's id and the first and last day; prints rows and seconds as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from freqtrade.data.converter import clean_ohlcv_dataframe
from freqtrade.data.history import get_datahandler
from freqtrade.enums import CandleType
from freqtrade.exchange import binance_public_data

MINUTE_MS = 60_000


def load(pair: str, market_id: str, start_ms: int, end_ms: int, folder: Path) -> int:
    """Fetch, clean and store the candles of a window; return their count."""
    downloaded = binance_public_data.download_archive_ohlcv(
        CandleType.SPOT, pair, "1m", since_ms=start_ms, until_ms=end_ms - 1, markets={pair: {"id": market_id}}
    )
    candles = clean_ohlcv_dataframe(asyncio.run(downloaded), "1m", pair, fill_missing=False, drop_incomplete=False)
    get_datahandler(folder, "feather").ohlcv_store(pair, "1m", data=candles, candle_type=CandleType.SPOT)
    return len(candles)


def main(url: str, pair: str, market_id: str, first_day: str, end_day: str) -> None:
    address_of = binance_public_data.binance_vision_ohlcv_zip_url
    binance_public_data.binance_vision_ohlcv_zip_url = lambda *names: f"{url}/{address_of(*names).split('/', 3)[3]}"
    start, end = (
        int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000) for day in (first_day, end_day)
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        rows = load(pair, market_id, start, end, Path(folder))
        print(json.dumps({"rows": rows, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
