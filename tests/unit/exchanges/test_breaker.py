"""The circuit breaker of one source."""

from __future__ import annotations

import pytest

from marketlake.exchanges.breaker import CircuitBreaker
from marketlake.exchanges.failures import SourceClosedError, SourceDisabledError


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker("binance spot")
    for _ in range(4):
        breaker.failed("HTTP 500")
    breaker.succeeded()
    breaker.failed("HTTP 500")

    breaker.check()


def test_it_lets_a_probe_through_after_a_minute_and_closes_again_on_the_next_failure() -> None:
    seconds = Seconds()
    breaker = CircuitBreaker("binance spot", monotonic=seconds)
    for _ in range(5):
        breaker.failed("HTTP 500")

    with pytest.raises(SourceClosedError, match="binance spot is not asked for 60 s more; last answer: HTTP 500"):
        breaker.check()
    seconds.now += 61
    breaker.check()
    breaker.failed("HTTP 502")
    with pytest.raises(SourceClosedError, match="HTTP 502"):
        breaker.check()


def test_a_disabled_source_stays_disabled() -> None:
    seconds = Seconds()
    breaker = CircuitBreaker("binance spot", monotonic=seconds)
    breaker.disable("HTTP 451")
    seconds.now += 1e6

    with pytest.raises(SourceDisabledError, match="binance spot is disabled: HTTP 451"):
        breaker.check()
