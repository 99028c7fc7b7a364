"""The sandbox exchange as a running server: in this process on its own thread, bound to this machine only."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import time
from datetime import datetime
from types import TracebackType

from aiohttp import web

from marketlake.errors import SetupError
from marketlake.sandbox.clock import SandboxClock
from marketlake.sandbox.control import Control
from marketlake.sandbox.exchange import Exchange
from marketlake.sandbox.faults import Faults
from marketlake.sandbox.instruments import SPOT_WEIGHT, UM_WEIGHT
from marketlake.sandbox.market import Market
from marketlake.sandbox.request_log import LoggedRequest
from marketlake.sandbox.weights import WeightMeter

HOST = "127.0.0.1"
_START_SECONDS = 30


class Sandbox:
    """A sandbox exchange; `with Sandbox(market) as sandbox:` serves it at `sandbox.url` until the block ends.

    `clock` is the exchange's time at the start (None: the machine's), running on unless `frozen`; `port` 0 takes a free
    one. `spot_weight_limit` and `um_weight_limit` are request weights a minute.

    Raises:
        SetupError: the port is in use.
    """

    def __init__(
        self,
        market: Market,
        *,
        clock: datetime | str | None = None,
        frozen: bool = False,
        port: int = 0,
        spot_weight_limit: int = SPOT_WEIGHT,
        um_weight_limit: int = UM_WEIGHT,
    ) -> None:
        self.market = market
        self.clock = SandboxClock(clock, frozen=frozen)
        self.meter = WeightMeter(spot_limit=spot_weight_limit, um_limit=um_weight_limit, seconds=self._metered_seconds)
        self._exchange = Exchange(market, self.clock, self.meter)
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failure: Exception | None = None

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """The address of everything: REST, archives (below /data/) and control (below /sandbox/)."""
        return f"http://{HOST}:{self._port}"

    @property
    def faults(self) -> Faults:
        """The faults: `.add(name, …)`, `.remove(id)`, `.clear()`."""
        return self._exchange.faults

    def start(self) -> None:
        """Serve in a thread of this process.

        Raises:
            SetupError: the port is in use.
        """
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="sandbox", daemon=True)
        self._thread.start()
        self._started.wait(_START_SECONDS)
        if self._failure is not None:
            self._thread.join(_START_SECONDS)
            raise _start_error(self._port, self._failure) from self._failure

    def stop(self) -> None:
        """Stop serving; a second call does nothing."""
        if self._loop is not None and self._stop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_START_SECONDS)
        self._exchange.close()

    def join(self) -> None:
        """Wait until it stops."""
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(0.5)

    def set_clock(self, instant: datetime | str | None = None, *, frozen: bool | None = None) -> None:
        """Set the exchange's time, stop it or let it run; see `SandboxClock.set`."""
        self.clock.set(instant, frozen=frozen)

    def requests(self, prefix: str = "") -> list[LoggedRequest]:
        """Return the requests so far whose path begins with the prefix, oldest first."""
        return self._exchange.log.entries(prefix)

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        self._exchange.log.clear()

    def _metered_seconds(self) -> float:
        """The exchange's own minutes; the machine's while its clock stands still, or no minute would ever end."""
        return time.time() if self.clock.is_frozen else self.clock.now_ms() / 1000

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=2**20)
        Control(self._exchange).add_routes(app)
        app.router.add_route("*", "/{path:.*}", self._exchange.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=False, logger=_logger())
        try:
            await runner.setup()
            site = web.TCPSite(runner, HOST, self._port, shutdown_timeout=1)
            await site.start()
            addresses = runner.addresses
            self._port = int(addresses[0][1])
            self._started.set()
            await self._stop.wait()
        except Exception as error:
            self._failure = error
            self._started.set()
        finally:
            await runner.cleanup()


def _start_error(port: int, error: Exception) -> SetupError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return SetupError(f"port {port} on {HOST} is in use: stop what listens there or choose another by --port")
    return SetupError(f"the sandbox cannot listen on {HOST}:{port}: {error}")


def _logger() -> logging.Logger:
    """Tells of what goes wrong in here, but not of connections that a fault cut on purpose."""
    logger = logging.getLogger("marketlake.sandbox")
    logger.addFilter(_is_not_a_cut)
    return logger


def _is_not_a_cut(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], ConnectionResetError))
