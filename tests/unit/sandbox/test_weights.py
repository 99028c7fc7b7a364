"""Request weight: counted by address, market and minute; refused, then banned."""

import pytest

from marketlake.sandbox.listings import SPOT, UM
from marketlake.sandbox.weights import CALLS_FORGIVEN, FUNDING_CALLS, WeightMeter


class Seconds:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000_000_020.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def meter(seconds: Seconds) -> WeightMeter:
    return WeightMeter(spot_limit=100, um_limit=40, seconds=seconds)


def test_weight_adds_up_to_the_limit_and_is_refused_above_it(meter: WeightMeter) -> None:
    verdicts = [meter.charge("a", SPOT, 20) for _ in range(6)]
    assert [one.used for one in verdicts] == [20, 40, 60, 80, 100, 120]
    assert [one.status for one in verdicts] == [None] * 5 + [429]


def test_the_wait_lasts_to_the_end_of_the_minute(meter: WeightMeter, seconds: Seconds) -> None:
    seconds.now = 999_999_960 + 42.5
    assert meter.charge("a", SPOT, 101).wait_seconds == 18


def test_a_new_minute_begins_at_zero(meter: WeightMeter, seconds: Seconds) -> None:
    meter.charge("a", SPOT, 101)
    seconds.now += 60
    assert meter.charge("a", SPOT, 1).used == 1


def test_markets_and_addresses_are_counted_apart(meter: WeightMeter) -> None:
    meter.charge("a", SPOT, 101)
    assert meter.charge("a", UM, 40).status is None
    assert meter.charge("b", SPOT, 100).status is None
    assert (meter.used("a", SPOT), meter.used("a", UM), meter.used("b", SPOT)) == (101, 40, 100)


def test_who_goes_on_calling_is_banned_and_for_longer_each_time(meter: WeightMeter, seconds: Seconds) -> None:
    verdicts = [meter.charge("a", SPOT, 101) for _ in range(CALLS_FORGIVEN + 2)]
    assert [one.status for one in verdicts] == [429] * CALLS_FORGIVEN + [418, 418]
    assert verdicts[-1].wait_seconds == 120
    seconds.now += 119
    assert meter.charge("a", SPOT, 1).status == 418
    seconds.now += 2
    assert meter.charge("a", SPOT, 1).status is None
    again = [meter.charge("a", SPOT, 101) for _ in range(CALLS_FORGIVEN + 1)]
    assert (again[-1].status, again[-1].wait_seconds) == (418, 240)


def test_funding_calls_share_a_budget_of_five_minutes(meter: WeightMeter, seconds: Seconds) -> None:
    assert all(meter.charge_funding("a").status is None for _ in range(FUNDING_CALLS))
    assert (meter.charge_funding("a").status, meter.charge_funding("a").wait_seconds) == (429, 300)
    seconds.now += 300
    assert meter.charge_funding("a").status is None


def test_forgiving_lifts_a_ban(meter: WeightMeter) -> None:
    for _ in range(CALLS_FORGIVEN + 1):
        meter.charge("a", SPOT, 101)
    meter.forgive()
    assert meter.charge("a", SPOT, 1).status is None
