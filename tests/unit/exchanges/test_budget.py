"""The budget of one process."""

from __future__ import annotations

from datetime import timedelta

from marketlake.exchanges.budget import LocalBudget
from marketlake.instants import OffsetClock


def test_weight_is_granted_up_to_the_ceiling_of_the_published_limit() -> None:
    budget = LocalBudget(ceiling=0.8)
    budget.set_limit("spot", 100)

    assert [budget.draw("spot", 40), budget.draw("spot", 40)] == [0, 0]
    assert 0 < budget.draw("spot", 1) <= 60
    assert budget.draw("usdm", 40) == 0


def test_a_request_heavier_than_the_ceiling_goes_through_alone() -> None:
    budget = LocalBudget(ceiling=0.8)
    budget.set_limit("spot", 10)

    assert budget.draw("spot", 20) == 0
    assert budget.draw("spot", 1) > 0


def test_a_block_lasts_until_its_instant_and_a_shorter_one_does_not_end_it() -> None:
    budget, now = LocalBudget(), OffsetClock().now()

    budget.block_until("spot", now + timedelta(seconds=90), "banned")
    budget.block_until("spot", now + timedelta(seconds=5), "limit")

    assert 80 < budget.draw("spot", 1) <= 90
    assert budget.draw("usdm", 1) == 0
