"""A million candles: from archives to bronze, from bronze to Postgres, from Postgres through the indicators."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import psycopg

from tests.bench.figures import Figure, seconds_of
from tests.bench.worlds import step_seconds
from tests.world import World

SYMBOL, TIMEFRAME = "SOL/USDT", "1m"
MONTHS = [f"{year}-{month:02}" for year in (2023, 2024) for month in range(1, 13)]
WINDOW = ("2023-01-01", "2025-01-01")
NEXT_DAY = ("2025-01-01", "2025-01-02")
FREQTRADE = Path(__file__).resolve().parents[2] / ".venv" / "freqtrade" / "bin" / "python"
FREQTRADE_DAYS = [f"2023-01-{day:02}" for day in range(1, 32)]
COLUMNS = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
           "taker_buy_volume", "taker_buy_quote_volume", "ignore"]  # fmt: skip


def measure(world: World) -> list[Figure]:
    """Return the figures of the bulk path, of publishing and of the indicators."""
    with tempfile.TemporaryDirectory() as folder:
        archives = download(world, Path(folder), MONTHS)
        rows = sum(to_parquet(path) for path in archives)
        polars = seconds_of(lambda: [to_parquet(path) for path in archives], times=3)
    freqtrade = with_freqtrade(world)
    loaded = world.load(SYMBOL, TIMEFRAME, *WINDOW)
    load = step_seconds(loaded, "load_bronze")
    to_bronze = sum(step_seconds(loaded, step) for step in ("plan_fetches", "ingest_all", "load_bronze"))
    publish = step_seconds(loaded, "publish_changes")
    with world.database() as connection:
        published = connection.execute("select count(*) from bronze.ohlcv").fetchone()
        assert published is not None
        assert published[0] == rows
        bare = bare_copy_seconds(connection)
        insert = bare_insert_seconds(connection)
    full = silver_seconds(world.succeed("step", "build"))
    world.load(SYMBOL, TIMEFRAME, *NEXT_DAY)
    one_day = silver_seconds(world.succeed("step", "build"))
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
        Figure(
            f"publish {rows / 1e6:.2f} M candles, s / bare COPY of the same rows",
            publish / bare,
            None,
            "lower",
            f"{publish:.1f} s, COPY {bare:.1f} s",
        ),
        Figure(
            f"silver of {rows / 1e6:.2f} M candles, all indicators, s / bare insert … select of as many columns",
            full / insert,
            None,
            "lower",
            f"{full:.1f} s, insert {insert:.1f} s",
        ),
        Figure(
            "silver of one more day, s / silver of all",
            one_day / full,
            None,
            "lower",
            f"{one_day:.1f} s",
        ),
    ]


def silver_seconds(built: Mapping[str, Any]) -> float:
    """Return the seconds that a build took for staging and silver."""
    return float(built["results"]["dbt_staging"]["seconds"])


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


def bare_copy_seconds(connection: psycopg.Connection) -> float:
    """Return the seconds of a COPY of all published candles into an equal table with its primary key."""
    connection.execute("create table public.bare (like bronze.ohlcv including all)")
    with (
        connection.cursor() as cursor,
        cursor.copy("copy (select * from bronze.ohlcv) to stdout (format binary)") as out,
    ):
        data = [bytes(block) for block in out]

    def copy() -> None:
        with connection.cursor() as cursor, cursor.copy("copy public.bare from stdin (format binary)") as into:
            for block in data:
                into.write(block)
        connection.commit()

    seconds = seconds_of(copy)
    connection.execute("drop table public.bare")
    connection.commit()
    return seconds


def bare_insert_seconds(connection: psycopg.Connection) -> float:
    """Return the seconds of writing as many double columns as silver has, without computing anything."""
    values = ", ".join(f"close::double precision as c{number}" for number in range(40))

    def insert() -> None:
        connection.execute(
            f"create table public.bare as select exchange, symbol, timeframe, open_time, {values} from bronze.ohlcv"  # type: ignore[arg-type]  # the text above
        )
        connection.commit()

    seconds = seconds_of(insert)
    connection.execute("drop table public.bare")
    connection.commit()
    return seconds
