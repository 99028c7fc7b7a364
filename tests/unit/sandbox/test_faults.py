"""Faults that are on: which calls they are about, how often they hit, how they are shown."""

import pytest

from marketlake.errors import UnknownNameError
from marketlake.sandbox.faults import Call, Faults

CALL = Call("rest", "spot", "klines", "/api/v3/klines", "BTCUSDT", "1m", 1735689600000, 1735693200000)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.mark.parametrize(
    ("parameters", "fits"),
    [
        ({}, True),
        ({"symbol": "BTC/USDT"}, True),
        ({"symbol": "BTC/USDT:USDT"}, False),
        ({"symbol": "ETHUSDT"}, False),
        ({"market": "um"}, False),
        ({"timeframe": "1h"}, False),
        ({"endpoint": "klines"}, True),
        ({"endpoint": "trades"}, False),
        ({"endpoint": "/api/v3/kl"}, True),
        ({"endpoint": "/fapi"}, False),
        ({"start": "2025-01-01T00:59:00Z"}, True),
        ({"start": "2025-01-01T01:00:00Z"}, False),
        ({"end": "2025-01-01T00:00:00Z"}, False),
        ({"end": "2025-01-01T00:00:01Z"}, True),
    ],
)
def test_a_fault_is_about_the_calls_that_its_selectors_fit(
    faults: Faults, parameters: dict[str, str], fits: bool
) -> None:
    assert faults.add("unavailable", **parameters).fits(CALL) is fits


def test_a_fault_with_a_window_is_not_about_a_call_without_data(faults: Faults) -> None:
    time = Call("rest", "spot", "time", "/api/v3/time")
    assert not faults.add("unavailable", start="2025-01-01").fits(time)
    assert faults.add("unavailable").fits(time)


def test_it_hits_so_many_times_after_letting_some_pass(faults: Faults) -> None:
    fault = faults.add("unavailable", after=2, times=3)
    assert [fault.take(CALL) for _ in range(7)] == [False, False, True, True, True, False, False]
    assert fault.is_spent
    assert faults.active("unavailable") == []
    assert faults.documents()[0] | {"id": 0} == {
        "id": 0, "name": "unavailable", "hits": 3, "is_spent": True,
        "parameters": {"times": 3, "after": 2, "probability": 1.0, "seed": 0, "status": 503},
    }  # fmt: skip


def test_a_probability_hits_that_share_and_the_same_calls_each_time(faults: Faults) -> None:
    one, other = faults.add("unavailable", probability=0.3, seed=4), faults.add("unavailable", probability=0.3, seed=4)
    drawn = [one.take(CALL) for _ in range(1000)]
    assert drawn == [other.take(CALL) for _ in range(1000)]
    assert 250 < sum(drawn) < 350


def test_rows_are_selected_by_window_and_share(faults: Faults) -> None:
    fault = faults.add("gaps", start="2025-01-01", end="2025-01-02", probability=0.1)
    minutes = [1735689600000 + minute * 60_000 for minute in range(-60, 1500)]
    chosen = [minute for minute in minutes if fault.selects(CALL, minute)]
    assert all(1735689600000 <= minute < 1735776000000 for minute in chosen)
    assert 100 < len(chosen) < 190


def test_faults_can_be_removed_one_by_one_by_name_and_all(faults: Faults) -> None:
    one, _, _ = faults.add("slow"), faults.add("reset"), faults.add("slow")
    faults.remove(one.number)
    assert [fault.name for fault in faults.active()] == ["reset", "slow"]
    faults.clear("slow")
    assert [fault.name for fault in faults.active()] == ["reset"]
    faults.clear()
    assert faults.documents() == []


def test_removing_what_is_not_there_says_what_is(faults: Faults) -> None:
    with pytest.raises(UnknownNameError, match="no fault is on"):
        faults.remove(1)
    fault = faults.add("slow")
    with pytest.raises(UnknownNameError, match=f"fault id must be one of {fault.number}; was 99"):
        faults.remove(99)


def test_an_instant_is_shown_as_text(faults: Faults) -> None:
    assert faults.add("delisting", at="2025-01-01").document()["parameters"]["at"] == "2025-01-01T00:00:00Z"
