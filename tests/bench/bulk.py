"""A million candles from archives to bronze, beside polars that checks nothing and beside freqtrade."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import httpx
import polars as pl

from tests.bench.figures import Figure, seconds_of
from tests.bench.worlds import FREQTRADE, step_seconds
from tests.world import World

SYMBOL, TIMEFRAME = "SOL/USDT", "1m"
MONTHS = [f"{year}-{month:02}" for year in (2023, 2024) for month in range(1, 13)]
WINDOW = ("2023-01-01", "2025-01-01")
FREQTRADE_DAYS = [f"2023-01-{day:02}" for day in range(1, 32)]
COLUMNS = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
           "taker_buy_volume", "taker_buy_quote_volume", "ignore"]  # fmt: skip


def measure(world: World) -> list[Figure]:
    """Return the figures of the bulk path."""
    with tempfile.TemporaryDirectory() as folder:
        archives = download(world, Path(folder), MONTHS)
        rows = sum(to_parquet(path) for path in archives)
        polars = seconds_of(lambda: [to_parquet(path) for path in archives], times=3)
    freqtrade = with_freqtrade(world)
    loaded = world.load(SYMBOL, TIMEFRAME, *WINDOW)
    load = step_seconds(loaded, "load_bronze")
    to_bronze = sum(step_seconds(loaded, step) for step in ("plan_fetches", "ingest_all", "load_bronze"))
    return [
        Figure(
            "archives in landing → bronze, rows/s / polars in one process, without checks",
            (rows / load) / (rows / polars),
            None,
            "higher",
            f"{rows / load:,.0f} rows/s, polars {rows / polars:,.0f}",
        ),
        Figure(
            "archives at the exchange → bronze, rows/s / freqtrade",
            (rows / to_bronze) / freqtrade,
            None,
            "higher",
            f"{rows / to_bronze:,.0f} rows/s, freqtrade {freqtrade:,.0f}",
        ),
    ]


def with_freqtrade(world: World) -> float:
    """Return the rows per second of freqtrade, which loads the first days of the same market from daily archives."""
    url = world.sandbox.url
    with tempfile.TemporaryDirectory() as folder:
        download(world, Path(folder), FREQTRADE_DAYS, "daily")
    first, last = FREQTRADE_DAYS[0], FREQTRADE_DAYS[-1]
    command = [str(FREQTRADE), str(Path(__file__).parent / "freqtrade" / "load_archives.py")]
    done = subprocess.run(
        [*command, url, SYMBOL, SYMBOL.replace("/", ""), first, f"{date.fromisoformat(last) + timedelta(days=1)}"],
        env={**os.environ, "PYTHONPATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["rows"] == 1440 * len(FREQTRADE_DAYS)
    return float(told["rows"] / told["seconds"])


def download(world: World, folder: Path, periods: Sequence[str], length: str = "monthly") -> list[Path]:
    """Fetch the archives once, so that the exchange has built them before anything is timed."""
    paths = []
    with httpx.Client(timeout=120) as client:
        for period in periods:
            name = f"{SYMBOL.replace('/', '')}-{TIMEFRAME}-{period}.zip"
            url = f"{world.sandbox.url}/data/spot/{length}/klines/{name.split('-')[0]}/{TIMEFRAME}/{name}"
            for suffix in ("", ".CHECKSUM"):
                answer = client.get(url + suffix).raise_for_status()
                (folder / (name + suffix)).write_bytes(answer.content)
            paths.append(folder / name)
    return paths


def to_parquet(path: Path) -> int:
    """Write an archive as Parquet with polars, one process, no checks; return its rows."""
    with zipfile.ZipFile(path) as archive:
        body = archive.read(archive.namelist()[0])
    frame = pl.read_csv(io.BytesIO(body), has_header=False, new_columns=COLUMNS)
    frame.write_parquet(path.with_suffix(".parquet"))
    return frame.height
