"""`python -m marketlake.sandbox` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marketlake.sandbox import SyntheticMarket
from tests.integration.sandbox.asking import ask

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "marketlake.sandbox", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PLUGINS)},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_it_says_where_it_is_serves_and_ends_on_request() -> None:
    with command(
        "--market", "synthetic:7", "--port", "0", "--clock", "2025-02-01T00:00:00Z", "--frozen", "--json"
    ) as one:
        assert one.stdout is not None
        told = json.loads(one.stdout.readline())
        assert (told["market"], told["now"]) == ("synthetic:7", "2025-02-01T00:00:00Z")
        assert told["exports"]["MARKETLAKE__EXCHANGES__BINANCE__REST_URL"] == told["url"]
        rows = ask(told["url"] + "/api/v3/klines?symbol=ETHUSDT&interval=1h&startTime=1735689600000&limit=24").json
        truth = SyntheticMarket(7).candles("ETH/USDT", "1h", "2025-01-01", "2025-01-02")
        assert [float(row[4]) for row in rows] == [float(close) for close in truth["close"].to_pylist()]
        one.send_signal(signal.SIGINT)
        assert one.wait(30) == 0


def test_it_prints_what_to_export_for_people() -> None:
    with command("--port", "0", "--fault", "slow,seconds=0.01,times=1") as one:
        assert one.stdout is not None
        lines = [one.stdout.readline().rstrip() for _ in range(11)]
        assert lines[0].startswith("sandbox exchange synthetic:7 at http://127.0.0.1:")
        exports = [line.split()[1].split("=")[0] for line in lines if line.strip().startswith("export ")]
        assert "MARKETLAKE__EXCHANGES__BINANCE__ARCHIVE_URL" in exports
        assert "MARKETLAKE__CLOCK__SOURCE" in exports
        assert lines[-1] == "Stop it with Ctrl+C."


def test_a_port_in_use_is_one_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with command("--port", str(taken.getsockname()[1])) as one:
            _, said = one.communicate(timeout=30)
            assert one.returncode == 1
            assert said == (
                f"error: port {taken.getsockname()[1]} on 127.0.0.1 is in use: stop what listens there or choose "
                "another by --port\n"
            )
