"""The sandbox exchange that feeds a home's lake: remembered in `<home>/market.json`, started again when it is needed.

A lake stays with its market, so what points marketlake at a sandbox must outlive the demo that chose it. The file holds
the variables that do; those of the environment win. A lake of the real exchange has no such file.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
import urllib.request
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from marketlake.cli.airflow_files import HOST, ROOT
from marketlake.cli.processes import RunFile, log_end, start_background, stop_background
from marketlake.errors import SetupError

REACH_SECONDS = 3.0
_START_SECONDS = 60.0
_URLS = tuple(
    f"MARKETLAKE__EXCHANGES__BINANCE__{part}"
    for part in ("REST_URL", "FUTURES_REST_URL", "COINM_REST_URL", "ARCHIVE_URL")
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Feed:
    """A sandbox: its market's name, its command line without the port, its port, and the settings beside its address.

    `variables` are settings and Airflow's own, by the names that the environment has for them.
    """

    market: str
    arguments: tuple[str, ...]
    port: int
    variables: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that point marketlake at it."""
        return {**self.variables, **dict.fromkeys(_URLS, self.url)}


def home_of(environ: Mapping[str, str]) -> Path:
    """Return the folder that holds all state."""
    return Path(environ.get("MARKETLAKE_HOME") or "data").absolute()


def read_feed(home: Path) -> Feed | None:
    """Return the sandbox that feeds this home, or None."""
    try:
        tree = json.loads(_file(home).read_text(encoding="utf-8"))
        return Feed(tree["market"], tuple(tree["arguments"]), int(tree["port"]), dict(tree["variables"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_feed(home: Path) -> None:
    """Let the settings alone say which exchange feeds this home."""
    _file(home).unlink(missing_ok=True)


def join_feed(environ: MutableMapping[str, str]) -> None:
    """Point this process and those it starts at the home's sandbox, and start that where it does not run.

    Nothing happens in a home that no sandbox feeds, and none is started where the environment names another address.

    Raises:
        SetupError: it does not start.
    """
    home = home_of(environ)
    feed = read_feed(home)
    if feed is None:
        return
    if environ.get(_URLS[0], feed.url) == feed.url:
        feed = ensure_feed(home, feed.market, feed.arguments, feed.variables)
    for name, value in feed.environment().items():
        environ.setdefault(name, value)


def ensure_feed(home: Path, market: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Feed:
    """Return the running sandbox of this home, started on its earlier port where that is free, and remember it.

    Raises:
        SetupError: it does not start; the text has the end of its log.
    """
    with _one_starts(home):
        known = read_feed(home)
        run_file = RunFile(home / "run" / "sandbox.json")
        processes, facts = run_file.read()
        is_same = known is not None and facts == {"arguments": list(arguments), "url": known.url}
        if known is not None and is_same and processes and processes[0].find():
            return known
        stop_background(processes)
        feed = Feed(market, tuple(arguments), _free_port(known.port if known else None), dict(variables))
        _start(home, feed, run_file)
        _remember(home, feed)
    return feed


def _start(home: Path, feed: Feed, run_file: RunFile) -> None:
    log = home / "logs" / "sandbox.log"
    command = [str(ROOT / "bin" / "marketlake"), "sandbox", *feed.arguments, "--port", str(feed.port), "--json"]
    _LOG.info("starting the sandbox exchange %s at %s", feed.market, feed.url)
    process = start_background("sandbox", command, environment=os.environ, log=log)
    run_file.write([process], {"arguments": list(feed.arguments), "url": feed.url})
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if _answers(f"{feed.url}/api/v3/time"):
            return
        if process.find() is None:
            break
        time.sleep(0.2)
    stop_background([process])
    raise SetupError(f"the sandbox exchange did not start; the end of {log}:\n{log_end(log)}")


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=REACH_SECONDS):
            return True
    except OSError:
        return False


def _free_port(remembered: int | None) -> int:
    for port in ([] if remembered is None else [remembered]) + [0]:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SetupError(f"no free port on {HOST}")


def _remember(home: Path, feed: Feed) -> None:
    aside = _file(home).with_suffix(".new")
    aside.write_text(json.dumps(asdict(feed), indent=1) + "\n", encoding="utf-8")
    aside.rename(_file(home))


@contextmanager
def _one_starts(home: Path) -> Iterator[None]:
    """Let one process of this home look and start at a time: a run's steps may need the sandbox at once."""
    path = home / "run" / "sandbox.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _file(home: Path) -> Path:
    return home / "market.json"
