"""Requests as every client makes them: drawn from the budget, judged by the table of answers, retried with patience."""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import certifi
import httpx

from marketlake.errors import OtherMarketError
from marketlake.exchanges.answers import FORBIDDEN_PAUSE, Action, Verdict, judge
from marketlake.exchanges.breaker import CircuitBreaker
from marketlake.exchanges.budget import RequestBudget
from marketlake.exchanges.failures import (
    MarketRefusedError,
    RequestFailedError,
    SourceClosedError,
    SourceDisabledError,
    UnreadableBodyError,
)
from marketlake.exchanges.protocol import Response
from marketlake.instants import Clock, format_instant

RETRIES = 5
JITTER = 0.2
MAX_CONNECTIONS = 32
# Every answer of a sandbox says whose it is; one that says nothing is the real exchange.
MARKET_HEADER = "x-marketlake-market"
LIVE = "live"
_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Call:
    """One GET: where, with which query, from which scope of the budget, and what its rows are called."""

    url: str
    source_ref: str
    scope: str
    weight: int = 1
    params: Mapping[str, str] = field(default_factory=dict)
    used_weight_header: str | None = None


@dataclass(frozen=True)
class Attempt(Generic[_T]):
    """One try: the verdict on its answer, and what was made of it if the answer is good."""

    verdict: Verdict
    value: _T | None = None
    unreadable: UnreadableBodyError | None = None


def http_client(*, timeout_seconds: float) -> httpx.Client:
    """Return the connection pool that all requests to one exchange share.

    It trusts the machine's own certificates as well as the bundled ones, so that it works behind a company's proxy.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request says nothing new
    trusted = ssl.create_default_context()
    trusted.load_verify_locations(certifi.where())
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    return httpx.Client(timeout=timeout_seconds, limits=limits, verify=trusted, headers={"user-agent": "marketlake"})


class Requester:
    """Sends the requests of one exchange; safe to share between threads.

    `scopes` are all budget scopes of the exchange: a ban stops all of them. `deadline_seconds` bounds how long one
    request may wait for the budget or a ban. `market` is the one that every answer must come from (None: any). Once
    `stop` is set, no pause goes on and no request begins. `sleep` and `jitter` are what they say.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        exchange: str,
        scopes: tuple[str, ...],
        budget: RequestBudget,
        clock: Clock,
        retry_base_seconds: float = 1.0,
        deadline_seconds: float = 3600.0,
        market: str | None = None,
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.http = http
        self.clock = clock
        self.budget = budget
        self._exchange = exchange
        self._scopes = scopes
        self._base = retry_base_seconds
        self._deadline = time.monotonic() + deadline_seconds
        self._market = market
        self._stop = stop or threading.Event()
        self._sleep = sleep or self._stop.wait
        self._jitter = jitter
        self._breakers = {scope: CircuitBreaker(f"{exchange} {scope}") for scope in scopes}

    def get(self, call: Call, *, read: Callable[[str], Any]) -> Response:
        """Return the answer whose text `read` understands; `read` raises ValueError for a body that it does not.

        Raises:
            RequestFailedError, UnreadableBodyError: no good answer after five retries.
            MarketRefusedError: the exchange refuses the parameters.
            OtherMarketError: the answer is another market's.
            SourceClosedError, SourceDisabledError: the source is not to be asked now, or from here.
        """
        return self.perform(call.url, lambda: self._once(call, read), scope=call.scope, weight=call.weight)

    def perform(self, what: str, once: Callable[[], Attempt[_T]], *, scope: str, weight: int = 0) -> _T:
        """Try `once` until its answer is good, as the table of answers says; raises as `get`."""
        breaker, retries = self._breakers[scope], 0
        while True:
            self._check_stop()
            breaker.check()
            self._draw(scope, weight, what)
            attempt = self._try(once)
            if attempt.value is not None:
                breaker.succeeded()
                return attempt.value
            if attempt.verdict.action is Action.STOP_CALLS:
                self._stop_calls(attempt.verdict)
                continue
            if attempt.verdict.action is not Action.RETRY:
                raise self._refusal(what, scope, attempt.verdict, breaker)
            if retries == RETRIES:
                breaker.failed(attempt.verdict.summary)
                raise attempt.unreadable or RequestFailedError(
                    f"{what} gave no usable answer in {RETRIES + 1} tries; last: {attempt.verdict.summary}"
                )
            pause = self._base * 2**retries * self._jitter(1 - JITTER, 1 + JITTER)
            _LOG.warning("%s: %s; again in %.1f s", what, attempt.verdict.summary, pause)
            self.pause(pause)
            retries += 1

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the step is stopped.

        Raises:
            SourceClosedError: it was stopped.
        """
        self._sleep(seconds)
        self._check_stop()

    def check_market(self, url: str, headers: Mapping[str, str]) -> None:
        """Make sure that an answer comes from the market that feeds the lake, before anything of it is used.

        Raises:
            OtherMarketError: it does not.
        """
        found = headers.get(MARKET_HEADER, LIVE)
        if self._market is not None and found != self._market:
            raise OtherMarketError(
                f"{url} is the market {found!r}, this lake is fed by {self._market!r}; point all addresses of "
                f"exchanges.{self._exchange} (rest_url, futures_rest_url, archive_url) at the lake's market, or use "
                f"another MARKETLAKE_HOME"
            )

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise SourceClosedError(f"{self._exchange} is not asked any more: this step is being stopped")

    def _try(self, once: Callable[[], Attempt[_T]]) -> Attempt[_T]:
        try:
            return once()
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            return Attempt(Verdict(Action.RETRY, timedelta(0), reason))

    def _once(self, call: Call, read: Callable[[str], Any]) -> Attempt[Response]:
        requested_at = self.clock.now()
        answer = self.http.get(call.url, params=dict(call.params))
        received_at = self.clock.now()
        self._report_used(call, answer.headers)
        text = answer.content.decode("utf-8", "replace")
        verdict = judge(answer.status_code, answer.headers, text, now=received_at)
        if verdict.action is not Action.ACCEPT:
            return Attempt(verdict)
        url = str(answer.request.url)
        self.check_market(url, answer.headers)
        try:
            body = read(answer.content.decode("utf-8"))
        except ValueError as error:
            why = f"unreadable body ({error}): {text[:120]!r}"
            advice = "a proxy or a maintenance page may have answered: check the address, or run it again later"
            message = f"{url} gave an {why}; {advice}"
            unreadable = UnreadableBodyError(message, url=url, body=text, received_at=received_at)
            return Attempt(Verdict(Action.RETRY, timedelta(0), why), unreadable=unreadable)
        response = Response(
            url=url,
            source_ref=call.source_ref,
            params=call.params,
            status=answer.status_code,
            headers={name: value for name, value in answer.headers.items() if name != "set-cookie"},
            text=text,
            body=body,
            requested_at=requested_at,
            received_at=received_at,
        )
        return Attempt(verdict, response)

    def _draw(self, scope: str, weight: int, what: str) -> None:
        while (wait := self.budget.draw(scope, weight)) > 0:
            if time.monotonic() + wait > self._deadline:
                raise SourceClosedError(
                    f"{what} may not be asked for {wait:.0f} s more (request budget or ban of {self._exchange} "
                    f"{scope}), which is longer than this step may take; run it again after that"
                )
            if wait > 5:
                _LOG.info("%s %s: waiting %.1f s for the request budget", self._exchange, scope, wait)
            self.pause(wait)

    def _stop_calls(self, verdict: Verdict) -> None:
        pause = max(verdict.pause, timedelta(seconds=self._base))
        until = datetime.now(UTC) + pause
        _LOG.warning("%s stops all calls until %s: %s", self._exchange, format_instant(until), verdict.summary)
        for scope in self._scopes:
            self.budget.block_until(scope, until, verdict.summary)

    def _refusal(self, what: str, scope: str, verdict: Verdict, breaker: CircuitBreaker) -> Exception:
        if verdict.action in (Action.CLOSE_SOURCE, Action.DISABLE_SOURCE):
            # Other processes, and this one's next clients, have a breaker of their own.
            self.budget.close_source(scope, datetime.now(UTC) + FORBIDDEN_PAUSE, verdict.summary)
        if verdict.action is Action.CLOSE_SOURCE:
            breaker.close_source(verdict.pause.total_seconds(), verdict.summary)
            return SourceClosedError(f"{what} is forbidden; not asked again for 5 minutes. Answer: {verdict.summary}")
        if verdict.action is Action.DISABLE_SOURCE:
            breaker.disable(verdict.summary)
            return SourceDisabledError(f"{self._exchange} serves nobody from this place. Answer: {verdict.summary}")
        breaker.succeeded()
        return MarketRefusedError(f"{what} is refused: {verdict.summary}")

    def _report_used(self, call: Call, headers: Mapping[str, str]) -> None:
        used = headers.get(call.used_weight_header) if call.used_weight_header else None
        if used is not None and used.isdigit():
            self.budget.report_used(call.scope, int(used))
