"""The exchange's clock."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from marketlake.errors import WindowError
from marketlake.sandbox.clock import SandboxClock

INSTANT = datetime(2025, 2, 1, tzinfo=UTC)


def test_without_a_start_it_is_the_machines_time() -> None:
    assert abs(SandboxClock().now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_a_set_clock_runs_on_at_real_speed() -> None:
    clock = SandboxClock("2025-02-01T00:00:00Z")
    first = clock.now_ms()
    time.sleep(0.05)
    passed = clock.now_ms() - first
    assert timedelta(0) <= clock.now() - INSTANT < timedelta(seconds=5)
    assert 45 <= passed < 5000


def test_a_frozen_clock_stands_still_until_it_is_let_go() -> None:
    clock = SandboxClock(INSTANT, frozen=True)
    time.sleep(0.02)
    assert clock.now() == INSTANT
    clock.set(frozen=False)
    time.sleep(0.02)
    assert INSTANT < clock.now() < INSTANT + timedelta(seconds=5)


def test_stopping_a_running_clock_keeps_its_time() -> None:
    clock = SandboxClock(INSTANT)
    time.sleep(0.01)
    clock.set(frozen=True)
    stopped = clock.now()
    time.sleep(0.01)
    assert INSTANT < stopped == clock.now()


def test_setting_it_keeps_it_frozen() -> None:
    clock = SandboxClock(INSTANT, frozen=True)
    clock.set("2025-03-01")
    assert clock.is_frozen
    assert clock.now() == datetime(2025, 3, 1, tzinfo=UTC)


def test_an_unreadable_instant_is_refused() -> None:
    with pytest.raises(WindowError, match="clock must be"):
        SandboxClock("tomorrow")
