"""A run that is told to stop while an exchange has banned it ends at once: the pause may be an hour."""

import signal
import subprocess
import time

import pytest

from marketlake import ledger
from marketlake.settings import load_settings
from tests.world import COMMAND

RUN = ("run", "--dataset", "ohlcv", "--symbol", "BTC/USDT", "--timeframe", "1h", "--mode", "force")
WINDOW = ("--start", "2025-03-03", "--end", "2025-03-04")


@pytest.mark.parametrize(("endpoint", "source"), [("time", "rest"), ("klines", "rest"), ("/data/", "archive")])
def test_a_run_that_waits_out_a_ban_ends_when_it_is_told_to(world, endpoint, source):
    with ledger.connect(load_settings()) as connection:
        connection.execute("delete from ops.request_budget")  # another test's ban
    world.faults.add("too_many_requests", endpoint=endpoint, retry_after=600)
    process = subprocess.Popen(
        [str(COMMAND), *RUN, *WINDOW, "--source", source],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        assert any("s for the request budget" in line for line in process.stderr)
        told_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        process.kill()
        world.faults.clear()

    assert time.monotonic() - told_at < 20
    assert process.returncode == 130
    assert "interrupted; the same command again goes on where this one stopped" in process.stderr.read()
