"""A server on this machine that gives prepared answers, and requesters that do not wait."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from marketlake.exchanges.budget import LocalBudget
from marketlake.exchanges.http import Requester, http_client
from marketlake.instants import OffsetClock

Prepared = tuple[int, dict[str, str], bytes]


@dataclass
class PreparedServer:
    """Gives each path its prepared answers in turn, the last one for ever; an unknown path gets 404."""

    url: str = ""
    answers: dict[str, deque[Prepared]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)

    def add(self, path: str, status: int, body: str | bytes = b"", **headers: str) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.answers[path].append((status, {key.replace("_", "-"): value for key, value in headers.items()}, content))

    def answer(self, path: str) -> Prepared:
        prepared = self.answers[path]
        if not prepared:
            return 404, {}, b"<html>404</html>"
        return prepared.popleft() if len(prepared) > 1 else prepared[0]

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]


def _handler(server: PreparedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {key.lower(): value for key, value in self.headers.items()}
            server.requests.append((parts.path, dict(parse_qsl(parts.query)), headers))
            status, more, body = server.answer(parts.path)
            if (wanted := headers.get("range")) and status == 200:
                status, body = 206, body[int(wanted.removeprefix("bytes=").rstrip("-")) :]
            self.send_response(status)
            for key, value in more.items():
                self.send_header(key, value)
            if "content-length" not in more:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if "content-length" in more:  # announced more than it sends: a connection cut in the middle
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[PreparedServer]:
    prepared = PreparedServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(prepared))
    prepared.url = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield prepared
    http.shutdown()
    http.server_close()


@dataclass
class Waits:
    """The pauses that a requester took, in seconds, instead of taking them."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(round(seconds, 6))


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def make_requester(waits: Waits) -> Iterator[Callable[..., Requester]]:
    opened = []

    def make(
        *scopes: str,
        budget: LocalBudget | None = None,
        deadline_seconds: float = 3600,
        market: str | None = None,
        jitter: Callable[[float, float], float] = lambda low, high: (low + high) / 2,
    ) -> Requester:
        http = http_client(timeout_seconds=5)
        opened.append(http)
        return Requester(
            http,
            exchange="binance",
            scopes=scopes or ("spot", "usdm", "usdm_funding"),
            budget=budget or LocalBudget(),
            clock=OffsetClock(),
            deadline_seconds=deadline_seconds,
            market=market,
            sleep=waits,
            jitter=jitter,
        )

    yield make
    for http in opened:
        http.close()
