"""A home that a sandbox feeds: every command finds it, and one that needs it starts it again."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from marketlake.cli.feed import Feed, join_feed, read_feed
from marketlake.cli.processes import RunFile
from marketlake.embedded_postgres import PostgresAddress
from marketlake.ledger import connect, lake_market
from marketlake.settings import load_settings
from tests.world import Done, World

REST_URL = "MARKETLAKE__EXCHANGES__BINANCE__REST_URL"
VARIABLES = {"MARKETLAKE__CLOCK__SOURCE": "exchange"}
PLAN = ("run", "--dataset", "ohlcv", "--symbol", "BTC/USDT", "--timeframe", "1h", "--start", "2025-03-03",
        "--end", "2025-03-04", "--dry-run", "--json")  # fmt: skip


def command(home: Path, *arguments: str, **environ: str) -> Done:
    return World(None, home, environ).command(*arguments)  # type: ignore[arg-type]  # it brings its own sandbox


def is_running(home: Path) -> bool:
    processes, _ = RunFile(home / "run" / "sandbox.json").read()
    return any(process.find() for process in processes)


@pytest.fixture
def fed(home: Path, postgres: PostgresAddress) -> Iterator[Path]:
    """A home after a demo on a sandbox and `marketlake down`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        feed = Feed("synthetic:5", ("--market", "synthetic:5"), probe.getsockname()[1], VARIABLES)
    (home / "market.json").write_text(json.dumps(asdict(feed)))
    yield home
    command(home, "down")


def test_a_run_by_hand_over_a_sandbox_lake_starts_the_sandbox_again(fed: Path) -> None:
    assert not is_running(fed)

    done = command(fed, *PLAN)

    assert (done.code, done.json["expected_rows"]) == (0, 24), done.err
    assert "starting the sandbox exchange synthetic:5" in done.err
    assert is_running(fed)
    with connect(load_settings()) as connection:
        assert lake_market(connection) == "synthetic:5"
    again = command(fed, *PLAN)
    assert again.code == 0
    assert "starting the sandbox" not in again.err


def test_a_command_that_needs_no_exchange_starts_none(fed: Path) -> None:
    assert command(fed, "coverage", "--json").code == 0
    assert not is_running(fed)


def test_what_the_environment_says_wins(fed: Path) -> None:
    environ = {"MARKETLAKE_HOME": str(fed), REST_URL: "http://127.0.0.1:1", "MARKETLAKE__CLOCK__SOURCE": "local"}

    join_feed(environ)

    assert (environ[REST_URL], environ["MARKETLAKE__CLOCK__SOURCE"]) == ("http://127.0.0.1:1", "local")
    assert not is_running(fed)


def test_a_sandbox_whose_port_was_taken_moves_and_is_found_there(fed: Path) -> None:
    known = read_feed(fed)
    assert known is not None
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", known.port))
        other.listen()
        assert command(fed, *PLAN).code == 0

    moved = read_feed(fed)
    assert moved is not None
    assert moved.port != known.port
    assert moved.environment()[REST_URL] == moved.url


@pytest.mark.parametrize("text", [None, "", "{}", '{"market": 1', "[1]"])
def test_a_home_without_a_readable_feed_follows_the_settings(home: Path, text: str | None) -> None:
    if text is not None:
        (home / "market.json").write_text(text)
    environ = {"MARKETLAKE_HOME": str(home)}

    join_feed(environ)

    assert environ == {"MARKETLAKE_HOME": str(home)}
    assert os.listdir(home) == ([] if text is None else ["market.json"])
