"""Reads from Python: a symbol's year and day out of five symbols and two years, beside polars on Parquet of doubles."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from marketlake import Lake
from tests.bench.figures import Figure, median
from tests.world import World

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BNB/USDT")
READ = SYMBOLS[0]
TIMEFRAME = "1m"
YEARS = ("2023-01-01", "2025-01-01")
YEAR = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
DAY = (datetime(2024, 6, 15, tzinfo=UTC), datetime(2024, 6, 16, tzinfo=UTC))
COLUMNS = ["open_time", "open", "high", "low", "close", "volume"]
RESTATED = 0.1
TIMES = 15
Read = Callable[[], Any]


def measure(world: World) -> list[Figure]:
    """Return the figures of reading candles as the doubles nearest to their text."""
    for symbol in SYMBOLS:
        world.load(symbol, TIMEFRAME, *YEARS)
    with tempfile.TemporaryDirectory() as folder:
        write_doubles(Lake(world.home), Path(folder))
        plain = year_figure(world, Path(folder), "one source", 2.5)
        day = day_figure(world, Path(folder))
    restate(world)
    with tempfile.TemporaryDirectory() as folder:
        write_doubles(Lake(world.home), Path(folder))
        ranked = year_figure(world, Path(folder), f"{RESTATED:.0%} of the keys restated, two sources", 4.5)
    return [plain, ranked, day]


def year_figure(world: World, folder: Path, what: str, target: float) -> Figure:
    """Measure a symbol's year, warm and cold, beside polars; the doubles must be those of the exact text."""
    lake = Lake(world.home)
    check_doubles(lake)
    ours, theirs = in_turn(lambda: candles(lake, *YEAR), lambda: polars_rows(folder, *YEAR))
    cold = [cold_seconds(world.root, lambda: candles(Lake(world.home), *YEAR)) for _ in range(3)]
    cold_peer = [cold_seconds(folder, lambda: polars_rows(folder, *YEAR)) for _ in range(3)]
    return Figure(
        f"Lake.candles, a symbol's year of 1m as doubles, {what} / polars on Parquet of doubles",
        ours / theirs,
        target,
        "lower",
        f"{ours * 1e3:.0f} ms, polars {theirs * 1e3:.0f} ms, medians of {TIMES};"
        f" cold {median(cold) * 1e3:.0f} ms, polars {median(cold_peer) * 1e3:.0f} ms",
    )


def day_figure(world: World, folder: Path) -> Figure:
    """Measure a symbol's day from a lake that is open, beside polars."""
    lake = Lake(world.home)
    ours, theirs = in_turn(lambda: candles(lake, *DAY), lambda: polars_rows(folder, *DAY))
    return Figure(
        "Lake.candles, a symbol's day of 1m from an open lake / polars on Parquet of doubles",
        ours / theirs,
        3.0,
        "lower",
        f"{ours * 1e3:.1f} ms, polars {theirs * 1e3:.1f} ms, medians of {TIMES}",
    )


def candles(lake: Lake, start: datetime, end: datetime) -> Any:
    """Read the symbol as the product does."""
    return lake.candles(READ, TIMEFRAME, start, end, columns=COLUMNS)


def polars_rows(folder: Path, start: datetime, end: datetime) -> pl.DataFrame:
    """Read the symbol's doubles as polars does: a folder a symbol and year, opened anew."""
    at = pl.col("open_time")
    wanted = (pl.col("symbol") == _name(READ)) & (pl.col("year") == start.year) & (at >= start) & (at < end)
    return pl.scan_parquet(folder, hive_partitioning=True).filter(wanted).select(COLUMNS).collect()


def write_doubles(lake: Lake, folder: Path) -> None:
    """Write all candles as doubles, a Parquet file a symbol and year, sorted."""
    for symbol in SYMBOLS:
        rows = lake.candles(symbol, TIMEFRAME, columns=COLUMNS, format="polars")
        for (year,), part in rows.group_by(pl.col("open_time").dt.year(), maintain_order=True):
            place = folder / f"symbol={_name(symbol)}" / f"year={year}"
            place.mkdir(parents=True)
            part.write_parquet(place / "part.parquet", compression="zstd", row_group_size=100_000)


def restate(world: World) -> None:
    """Load the symbol's archives again with other closes in some candles, then the old ones from REST."""
    window = [f"{instant:%Y-%m-%d}" for instant in YEAR]
    world.sandbox.faults.add(
        "restated_candle", symbol=_name(READ), timeframe=TIMEFRAME, source="archive", probability=RESTATED
    )
    world.load(READ, TIMEFRAME, *window, "--mode", "force", "--source", "archive")
    world.sandbox.faults.clear()
    world.load(READ, TIMEFRAME, *window, "--mode", "force", "--source", "rest")
    found = Lake(world.home).query(
        "select count(distinct open_time) filter (revision = 1) as restated, count(distinct source) as sources"
        f" from bronze.ohlcv where symbol = '{READ}'"
    )
    keys = (YEAR[1] - YEAR[0]).days * 1440
    ((restated, sources),) = zip(*found.to_pydict().values(), strict=True)
    assert sources == 2
    assert 0.9 * RESTATED < restated / keys < 1.1 * RESTATED


def check_doubles(lake: Lake) -> None:
    """Make sure that what is measured gives the doubles that Python reads in the exact text."""
    exact = lake.candles(READ, TIMEFRAME, *YEAR, columns=COLUMNS, exact=True)
    found = candles(lake, *YEAR)
    assert found.num_rows == (YEAR[1] - YEAR[0]).days * 1440
    for name in COLUMNS[1:]:
        texts = pc.cast(exact.column(name), pa.string()).to_pylist()
        assert found.column(name).to_pylist() == [float(text) for text in texts]


def in_turn(ours: Read, theirs: Read) -> tuple[float, float]:
    """Return the median seconds of both, measured turn by turn after one that does not count."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMES + 1):
        for seconds, read in zip(taken, (ours, theirs), strict=True):
            began = time.perf_counter()
            read()
            seconds.append(time.perf_counter() - began)
    return median(taken[0][1:]), median(taken[1][1:])


def cold_seconds(folder: Path, read: Read) -> float:
    """Return the seconds of a read whose files are not in the page cache."""
    for path in _parquet(folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    began = time.perf_counter()
    read()
    return time.perf_counter() - began


def _parquet(folder: Path) -> Iterator[Path]:
    os.sync()
    yield from folder.rglob("*.parquet")


def _name(symbol: str) -> str:
    return symbol.replace("/", "")
