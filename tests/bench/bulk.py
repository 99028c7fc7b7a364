"""Archives to bronze: five million candles in bulk, beside polars that checks nothing and beside freqtrade."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import httpx
import polars as pl
import psutil

from tests.bench.figures import Figure, seconds_of
from tests.bench.worlds import FREQTRADE, step_seconds
from tests.world import World

TIMEFRAME = "1m"
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BNB/USDT")
MONTHS = [f"{year}-{month:02}" for year in (2023, 2024) for month in range(1, 13)]
WINDOW = ("2023-01-01", "2025-01-01")
FREQTRADE_DAYS = [f"2023-01-{day:02}" for day in range(1, 32)]
COLUMNS = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
           "taker_buy_volume", "taker_buy_quote_volume", "ignore"]  # fmt: skip
LOAD_JOB = "spark_jobs/bronze/load.py"


def measure(world: World) -> list[Figure]:
    """Return the figures of the bulk path: five symbols, 24 monthly archives each."""
    with tempfile.TemporaryDirectory() as folder:
        archives = [path for symbol in SYMBOLS for path in download(world, Path(folder), symbol, MONTHS)]
        rows = sum(to_parquet(path) for path in archives)
        polars = rows / seconds_of(lambda: [to_parquet(path) for path in archives], times=3)
        checksums = seconds_of(lambda: [hashlib.sha256(path.read_bytes()).hexdigest() for path in archives])
    freqtrade = with_freqtrade(world)
    symbols = [text for symbol in SYMBOLS for text in ("--symbol", symbol)]
    with peak_bytes() as peak:
        began = time.perf_counter()
        run = world.succeed(
            "run", "--exchange", "binance", "--timeframe", TIMEFRAME, *symbols, "--start", WINDOW[0], "--end", WINDOW[1]
        )
        whole = time.perf_counter() - began
    ((loaded, load),) = world.rows("select appended_rows, seconds from ops.loads where step = 'loaded'")
    assert loaded == rows
    load += checksums
    asked = sum(step_seconds(run, step) for step in ("plan_fetches", "ingest_all"))
    afterwards = sum(item["seconds"] for item in run["steps"]) - asked - step_seconds(run, "load_bronze")
    with_starts, without = rows / (whole - afterwards), rows / (asked + load)
    return [
        Figure(
            "archives in landing → committed bronze, rows/s / polars in one process, without checks",
            rows / load / polars,
            0.4,
            "higher",
            f"{rows / 1e6:.2f} M candles, {rows / load:,.0f} rows/s, polars {polars:,.0f}",
        ),
        Figure(
            "plan to committed bronze, rows/s with every start-up / freqtrade",
            with_starts / freqtrade,
            0.5,
            "higher",
            f"{with_starts:,.0f} rows/s, freqtrade {freqtrade:,.0f}",
        ),
        Figure(
            "plan to committed bronze, rows/s without start-ups / freqtrade",
            without / freqtrade,
            0.9,
            "higher",
            f"{without:,.0f} rows/s",
        ),
        Figure(
            "driver and workers of that load together, peak memory / 3 GB",
            peak[0] / 3e9,
            1.0,
            "lower",
            f"{peak[0] / 1e9:.2f} GB",
        ),
    ]


@contextmanager
def peak_bytes() -> Iterator[list[int]]:
    """Yield a list whose one number is, at the end, the most that the load job's processes held together, in bytes.

    Of memory that processes share each has its part.
    """
    peak, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.25):
            peak[0] = max(peak[0], sum(map(_held, _job_processes())))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        is_over.set()
        watcher.join()


def _job_processes() -> set[psutil.Process]:
    found = set[psutil.Process]()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(part.endswith(LOAD_JOB) for part in process.cmdline()):
                found |= {process, *process.children(recursive=True)}
    return found


def _held(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def with_freqtrade(world: World) -> float:
    """Return the rows per second of freqtrade, which loads the first days of one market from daily archives."""
    symbol = SYMBOLS[0]
    with tempfile.TemporaryDirectory() as folder:
        download(world, Path(folder), symbol, FREQTRADE_DAYS, "daily")
    first, last = FREQTRADE_DAYS[0], FREQTRADE_DAYS[-1]
    command = [str(FREQTRADE), str(Path(__file__).parent / "freqtrade" / "load_archives.py"), world.sandbox.url]
    done = subprocess.run(
        [*command, symbol, symbol.replace("/", ""), first, f"{date.fromisoformat(last) + timedelta(days=1)}"],
        env={**os.environ, "PYTHONPATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["rows"] == 1440 * len(FREQTRADE_DAYS)
    return float(told["rows"] / told["seconds"])


def download(world: World, folder: Path, symbol: str, periods: Sequence[str], length: str = "monthly") -> list[Path]:
    """Fetch the archives once, so that the exchange has built them before anything is timed."""
    paths = []
    with httpx.Client(timeout=120) as client:
        for period in periods:
            code = symbol.replace("/", "")
            name = f"{code}-{TIMEFRAME}-{period}.zip"
            url = f"{world.sandbox.url}/data/spot/{length}/klines/{code}/{TIMEFRAME}/{name}"
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
