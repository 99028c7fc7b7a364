"""The command that serves a sandbox exchange until it is interrupted."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from marketlake.errors import MarketlakeError, UsageError
from marketlake.instants import format_instant
from marketlake.sandbox.fault_kinds import registry
from marketlake.sandbox.market import Market
from marketlake.sandbox.recorded import RecordedMarket
from marketlake.sandbox.server import Sandbox
from marketlake.sandbox.synthetic import SyntheticMarket

_EPILOG = """The market is made up (synthetic:<seed>, the same for the same seed, at every instant up to now) or
recorded files (recorded, with --data). Faults, the clock and the request log are at /sandbox/faults, /sandbox/clock,
/sandbox/requests while it runs."""


def main(argv: list[str]) -> int:
    """Serve until interrupted; return the exit code."""
    try:
        options = _parse(argv)
        if options.list_faults:
            print("\n".join(f"{kind['name']:24}{kind['doc']}" for kind in registry()))
            return 0
        market = open_market(options.market, data=options.data, more_symbols=options.more_symbols)
        sandbox = Sandbox(market, clock=options.clock, frozen=options.frozen, port=options.port)
        for text in options.fault:
            _add_fault(sandbox, text)
        sandbox.start()
    except MarketlakeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    _announce(sandbox, as_json=options.json)
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    while not stopped.wait(0.5):
        pass
    sandbox.stop()
    return 0


def open_market(name: str, *, data: Path | str | None = None, more_symbols: int = 0) -> Market:
    """Return the market of a name: `synthetic:<seed>` or `recorded`, the latter from the folder `data`.

    Raises:
        UsageError: no such market, or no folder.
    """
    kind, _, seed = name.partition(":")
    if kind == "recorded" and not seed:
        folder = data or os.environ.get("MARKETLAKE_TEST_DATA")
        if not folder:
            raise UsageError("the recorded market needs its folder: name it by --data or MARKETLAKE_TEST_DATA")
        return RecordedMarket(folder)
    if kind != "synthetic" or not (seed or "7").isdigit():
        raise UsageError(f"market must be synthetic:<seed> (a whole number) or recorded; was {name!r}")
    return SyntheticMarket(int(seed or "7"), more_symbols=more_symbols)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="marketlake sandbox", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--market", default="synthetic:7", help="synthetic:<seed> or recorded (default synthetic:7)")
    parser.add_argument("--data", type=Path, help="folder of the recorded market")
    parser.add_argument("--port", type=int, default=8899, help="0 takes a free one (default 8899)")
    parser.add_argument("--clock", help="the exchange's time at the start, such as 2025-02-01T00:00:00Z")
    parser.add_argument("--frozen", action="store_true", help="the clock stands still until it is set")
    parser.add_argument("--more-symbols", type=int, default=0, help="adds S001USDT … to the made-up market")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME[,KEY=VALUE…]", help="switch a fault on from the start"
    )
    parser.add_argument("--list-faults", action="store_true", help="print the faults that there are, and end")
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON object")
    options = parser.parse_args(argv)
    if not 0 <= options.port <= 65_535:
        raise UsageError(f"port must be from 0 to 65535; was {options.port}")
    return options


def _add_fault(sandbox: Sandbox, text: str) -> None:
    name, *pairs = text.split(",")
    parameters = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"a fault's parameter must be key=value; was {pair!r}")
        parameters[key] = value
    sandbox.faults.add(name, **parameters)


def _announce(sandbox: Sandbox, *, as_json: bool) -> None:
    url = sandbox.url
    names = ("REST_URL", "FUTURES_REST_URL", "COINM_REST_URL", "ARCHIVE_URL")
    exports = {f"MARKETLAKE__EXCHANGES__BINANCE__{name}": url for name in names}
    exports["MARKETLAKE__CLOCK__SOURCE"] = "exchange"
    now = format_instant(sandbox.clock.now())
    if as_json:
        document = {"url": url, "market": sandbox.market.name, "now": now, "exports": exports}
        print(json.dumps(document), flush=True)
        return
    lines = [
        f"sandbox exchange {sandbox.market.name} at {url}, its time is {now}"
        + (", standing still" if sandbox.clock.is_frozen else ""),
        f"  REST     {url}/api/v3/…  {url}/fapi/v1/…",
        f"  archives {url}/data/…",
        f"  control  {url}/sandbox/faults  /sandbox/clock  /sandbox/requests  /sandbox/market",
        "Point marketlake at it:",
        *(f"  export {name}={value}" for name, value in exports.items()),
        "Stop it with Ctrl+C.",
    ]
    print("\n".join(lines), flush=True)
