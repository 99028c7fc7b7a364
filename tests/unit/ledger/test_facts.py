"""Tests for ``marketlake.ledger.facts``."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.ledger.facts import (
    ABSENCES,
    HOLES,
    RANKS,
    Fact,
    Tile,
    gaps_found_and_filled,
    joined,
    merge,
    settled_until,
)
from tests.unit.ledger.series import START, day, fact, hours, states, tile

OPEN = ("failed", "pending", "rejected")


def one(*facts: Fact) -> Tile:
    [found] = merge([], facts)
    return found


@pytest.mark.parametrize("lower", OPEN)
def test_a_lower_rank_never_replaces_a_present_range(lower: str) -> None:
    assert states(merge([tile(0, 4, "present")], [fact(1, 2, lower, on=1)])) == [(0, 4, "present")]


def test_a_present_fact_cuts_its_hole_in_two() -> None:
    tiles = merge([], [fact(0, 6, "pending", on=1), fact(2, 3, "present")])

    assert states(tiles) == [(0, 2, "pending"), (2, 3, "present"), (3, 6, "pending")]


def test_a_revoked_fact_makes_the_range_unknown_again_with_no_attempts() -> None:
    tiles = merge([tile(0, 4, "present")], [fact(1, 2, "revoked", cause="restored"), fact(1, 2, "pending", on=5)])

    assert states(tiles) == [(0, 1, "present"), (1, 2, "pending"), (2, 4, "present")]
    assert tiles[1].attempt_days == (day(5),)


def test_a_revoked_fact_needs_one_of_the_four_causes() -> None:
    with pytest.raises(ValueError, match="reissued, restored, retracted, rules_changed"):
        fact(0, 1, "revoked", cause="because")


def test_three_attempts_on_three_days_settle_a_hole_as_unfillable() -> None:
    twice = one(fact(0, 1, "pending", on=1), fact(0, 1, "pending", on=2))
    thrice = one(*(fact(0, 1, "pending", on=on) for on in (1, 2, 3)))

    assert (twice.state, twice.is_settled, twice.attempts) == ("pending", False, 2)
    assert (thrice.state, thrice.is_settled, thrice.attempts) == ("unfillable", True, 3)


def test_attempts_of_one_day_count_once() -> None:
    assert one(*(fact(0, 1, "pending", on=1) for _ in range(5))).attempts == 1


def test_a_row_that_keeps_failing_the_rules_settles_as_rejected_with_earlier_attempts_counted() -> None:
    found = one(fact(0, 1, "pending", on=1), fact(0, 1, "rejected", on=2), fact(0, 1, "pending", on=3))

    assert (found.state, found.is_settled, found.attempts) == ("rejected", True, 3)


def test_a_failed_range_never_settles() -> None:
    found = one(*(fact(0, 1, "failed", retry_at=START + timedelta(days=i)) for i in range(9)))

    assert not found.is_settled
    assert found.is_due(START + timedelta(days=8))


def test_refused_rows_stay_refused_when_a_later_fetch_fails() -> None:
    found = one(fact(0, 1, "failed", cause="refused"), fact(0, 1, "failed", cause="fetch_failed", retry_at=START))

    assert found.is_refused
    assert not found.is_due(START + timedelta(days=99))


@pytest.mark.parametrize(
    ("source", "state"), [("archive", "present"), ("rest", "unfillable"), ("stream", "unfillable")]
)
def test_a_retracted_key_comes_back_only_by_its_source_or_a_better_one(source: str, state: str) -> None:
    retracted = [
        fact(0, 1, "revoked", cause="retracted", source="archive"),
        fact(0, 1, "unfillable", cause="retracted", source="archive"),
    ]

    found = merge([tile(0, 1, "present")], [*retracted, fact(0, 1, "present", source=source)])

    assert [item.state for item in found] == [state]


def test_the_better_source_is_kept_for_a_range_that_both_have() -> None:
    for order in ("archive", "rest"), ("rest", "archive"):
        assert one(*(fact(0, 1, "present", source=source) for source in order)).source == "archive"


def test_equal_neighbours_become_one_tile_whichever_load_they_came_from() -> None:
    first = merge([], [fact(0, 2, "present")], load_id="a")

    assert merge(first, [fact(2, 5, "present")], load_id="b") == [tile(0, 5, "present")]


def test_the_settled_range_ends_at_the_first_open_or_unknown_instant() -> None:
    tiles = [tile(0, 2, "present"), tile(2, 3, "exchange_down"), tile(3, 4, "pending"), tile(4, 9, "present")]

    assert settled_until(tiles, START) == hours(0, 3).end
    assert settled_until(tiles, hours(0, 4).end) == hours(0, 9).end
    assert settled_until([tile(1, 2, "present")], START) == START


def test_a_gap_is_found_once_and_filled_once() -> None:
    before = merge([], [fact(0, 8, "pending", on=1)])
    after = merge(before, [fact(2, 3, "present"), fact(3, 4, "exchange_down"), fact(8, 9, "pending", on=1)])

    found, filled = gaps_found_and_filled(before, after)

    assert (found, filled) == ([hours(8, 9)], [hours(2, 3)])


# Properties ----------------------------------------------------------------------------------------------------------


@st.composite
def facts_of(draw: st.DrawFn, wanted: tuple[str, ...]) -> Fact:
    first = draw(st.integers(0, 12))
    last = draw(st.integers(first + 1, 14))
    state = draw(st.sampled_from(wanted))
    changes = {"source": draw(st.sampled_from(("archive", "rest", "stream"))), "cause": draw(st.sampled_from("ab"))}
    if state in ("pending", "rejected"):
        changes["on"] = draw(st.integers(1, 5))
    if state == "failed":
        changes["retry_at"] = START + timedelta(hours=draw(st.integers(1, 5)))
    if state == "revoked":
        changes["cause"] = "restored"
    return fact(first, last, state, **changes)


EVERY = (*RANKS, "revoked")


@given(st.lists(facts_of(EVERY), max_size=12), st.lists(facts_of(EVERY), max_size=12))
def test_tiles_never_overlap_stay_in_order_and_are_joined(first: list[Fact], second: list[Fact]) -> None:
    tiles = merge(merge([], first), second)

    for left, right in pairwise(tiles):
        assert left.window.end <= right.window.start
        same = (left.state, left.source, left.cause, left.attempt_days, left.retry_at)
        is_equal = same == (right.state, right.source, right.cause, right.attempt_days, right.retry_at)
        assert left.window.end < right.window.start or not is_equal


@given(st.lists(facts_of(tuple(RANKS)), max_size=12))
def test_tiles_cover_exactly_what_the_facts_covered(facts: list[Fact]) -> None:
    assert joined(item.window for item in merge([], facts)) == joined(item.window for item in facts)


@given(st.lists(facts_of(EVERY), max_size=10), st.lists(facts_of(EVERY), max_size=10))
def test_facts_in_two_batches_give_what_they_give_in_one(first: list[Fact], second: list[Fact]) -> None:
    assert merge(merge([], first), second) == merge([], first + second)


@pytest.mark.parametrize("rank", sorted(set(RANKS.values())))
@given(data=st.data())
def test_the_order_of_facts_of_equal_rank_decides_nothing(rank: int, data: st.DataObject) -> None:
    wanted = tuple(state for state in RANKS if RANKS[state] == rank)
    facts = data.draw(st.lists(facts_of(wanted), max_size=8))

    assert merge([], facts) == merge([], data.draw(st.permutations(facts)))


@given(st.lists(facts_of(tuple(RANKS)), max_size=10))
def test_without_a_revoked_fact_no_instant_ever_falls_to_a_lower_rank(facts: list[Fact]) -> None:
    tiles: list[Tile] = []
    for item in facts:
        after = merge(tiles, [item])
        for old in tiles:
            assert all(RANKS[new.state] >= RANKS[old.state] for new in after if new.window.overlap(old.window))
        tiles = after


@given(st.lists(facts_of(EVERY), max_size=12))
def test_repeating_facts_that_revoke_nothing_changes_nothing(facts: list[Fact]) -> None:
    facts = [item for item in facts if item.state != "revoked"]
    once = merge([], facts)

    assert merge(once, facts) == once


def test_every_state_is_settled_open_or_a_hole_by_its_name() -> None:
    settled = {state for state in RANKS if tile(0, 1, state, retry_at=START).is_settled}

    assert settled == {*ABSENCES, "present"}
    assert set(HOLES) <= set(RANKS)
