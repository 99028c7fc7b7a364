"""GEN-02: the unit of an epoch number is told by its magnitude."""

from __future__ import annotations

import pytest

from marketlake.exchanges.epochs import instant_of_epoch
from marketlake.instants import parse_instant

SECONDS = 1_740_052_800


@pytest.mark.parametrize("per_second", [1, 10**3, 10**6, 10**9])
def test_seconds_milliseconds_microseconds_and_nanoseconds_are_told_apart(per_second: int) -> None:
    assert instant_of_epoch(SECONDS * per_second) == parse_instant("2025-02-20T12:00:00Z")


def test_microseconds_are_kept() -> None:
    assert instant_of_epoch(SECONDS * 10**6 + 7) == parse_instant("2025-02-20T12:00:00.000007Z")


@pytest.mark.parametrize(
    "number", [-1, 0, 1_230_000_000, 4_200_000_000, 4_200_000_000_000, 10**16 * 9, 10**19, 10**400]
)
def test_what_no_market_can_have_is_no_instant(number: int) -> None:
    assert instant_of_epoch(number) is None
