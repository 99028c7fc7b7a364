"""REST: a command's way to a sealed manifest beside freqtrade, and how much of the request budget a fetch uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from marketlake.instants import from_epoch_ms, parse_instant, to_epoch_ms
from marketlake.settings import Settings
from tests.bench.figures import Figure, median
from tests.bench.worlds import FREQTRADE
from tests.world import COMMAND, World

SYMBOL = "BTC/USDT"
KLINES = "/api/v3/klines"
# Starts of 60 days each; freqtrade asks for the first.
STARTS = ("2024-01-01", "2024-04-01", "2024-07-01")
LENGTH = timedelta(days=60)
# More pages of two symbols than two minutes' budget allows.
LONG = ("--symbol", "BTC/USDT", "--symbol", "ETH/USDT", "--start", "2018-01-01", "--end", "2024-01-01")
PAGE_WEIGHT = 2
MINUTE = 60.0


def measure(world: World) -> list[Figure]:
    """Return the figures of fetching by REST."""
    world.succeed("plan", "--symbol", SYMBOL, "--timeframe", "1m", "--start", STARTS[0], "--end", _end(STARTS[0]))
    for start in STARTS:
        _ask_once(world, start)
    ours = [manifest_seconds(world, start) for start in STARTS]
    theirs = [freqtrade_seconds(world, STARTS[0]) for _ in STARTS]
    pages, allowed = pages_of_a_minute(world), allowed_pages(world.settings, world.sandbox.meter.limits["spot"])
    return [
        Figure(
            "60 days of 1m by REST, plan to sealed manifest with the command's start / freqtrade download-data",
            median(ours) / median(theirs),
            0.5,
            "lower",
            f"{median(ours):.1f} s, freqtrade {median(theirs):.1f} s; medians of {len(ours)}",
        ),
        Figure(
            "pages fetched by REST in a minute / pages that the request budget's ceiling allows",
            pages / allowed,
            0.95,
            "higher",
            f"{pages:,} of {allowed:,} pages of 1,000 candles",
        ),
    ]


def manifest_seconds(world: World, start: str) -> float:
    """Return the seconds from a command's start to the sealed manifest of 60 days, which it fetches by REST."""
    before = _manifests(world)
    window = ("--start", start, "--end", _end(start))
    began = time.perf_counter()
    command = _start(world, "--symbol", SYMBOL, *window)
    while _manifests(world) == before:
        assert command.poll() is None
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    _end_group(command)
    return seconds


def freqtrade_seconds(world: World, start: str) -> float:
    """Return the wall seconds of `freqtrade download-data` over the same days of the same server."""
    urls = {"api": dict.fromkeys(("public", "v1", "private"), f"{world.sandbox.url}/api/v3")}
    ccxt = {"urls": urls, "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}}
    exchange = {"name": "binance", "pair_whitelist": [SYMBOL], "only_from_ccxt": True}
    config = {
        "exchange": {**exchange, "ccxt_config": ccxt, "ccxt_async_config": ccxt},
        "stake_currency": "USDT",
        "dataformat_ohlcv": "feather",
    }
    days = "-".join(day.replace("-", "") for day in (start, _end(start)))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        places = ("-c", f"{folder}/config.json", "--userdir", folder, "-d", f"{folder}/data")
        began = time.perf_counter()
        subprocess.run(
            [str(FREQTRADE.with_name("freqtrade")), "download-data", *places, "-t", "1m", "--timerange", days],
            env={**os.environ, "PYTHONPATH": ""},
            check=True,
            capture_output=True,
        )
        seconds = time.perf_counter() - began
        assert list((Path(folder) / "data").rglob("*.feather"))
    return seconds


def pages_of_a_minute(world: World) -> int:
    """Return how many pages a fetch that has more to ask for gets in a minute of the machine's clock."""
    world.sandbox.clear_requests()
    ahead = world.sandbox.clock.now_ms() / 1000 - time.time()
    # Late in a minute, so that the next one is whole and spent by a fetch in full swing.
    time.sleep((40 - time.time()) % MINUTE)
    command = _start(world, *LONG)
    minute = (time.time() // MINUTE + 1) * MINUTE
    time.sleep(minute + MINUTE - time.time())
    assert command.poll() is None
    _end_group(command)
    asked = [parse_instant(request.instant).timestamp() - ahead for request in world.sandbox.requests(KLINES)]
    assert min(asked) < minute
    return sum(minute <= at < minute + MINUTE for at in asked)


def allowed_pages(settings: Settings, limit: int) -> int:
    """Return how many pages a minute the ceiling allows (ING-28)."""
    return int(limit * settings.exchanges["binance"].weight_ceiling) // PAGE_WEIGHT


def _ask_once(world: World, start: str) -> None:
    """Ask for every page once, so that the exchange has built them before anything is timed."""
    at, end = parse_instant(start), parse_instant(_end(start))
    with httpx.Client(base_url=world.sandbox.url) as client:
        while at < end:
            asked = {"symbol": "BTCUSDT", "interval": "1m", "startTime": str(to_epoch_ms(at)), "limit": "1000"}
            rows = client.get(KLINES, params=asked).raise_for_status().json()
            at = from_epoch_ms(rows[-1][0]) + timedelta(minutes=1)
    world.sandbox.meter.forgive()


def _end(start: str) -> str:
    return f"{datetime.fromisoformat(start).replace(tzinfo=UTC) + LENGTH:%Y-%m-%d}"


def _manifests(world: World) -> set[Path]:
    return set((world.root / "landing").glob("*/*/manifests/*.json"))


def _start(world: World, *arguments: str) -> subprocess.Popen[bytes]:
    line = [str(COMMAND), "run", "--dataset", "ohlcv", "--timeframe", "1m", "--source", "rest", *arguments]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line, env=world.environment, start_new_session=True, stdout=quiet, stderr=quiet)


def _end_group(command: subprocess.Popen[bytes]) -> None:
    os.killpg(command.pid, signal.SIGKILL)
    command.wait()
