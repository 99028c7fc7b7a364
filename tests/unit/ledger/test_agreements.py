"""Tests for ``marketlake.ledger.agreements``."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from marketlake.instants import Window
from marketlake.ledger.agreements import latest
from tests.unit.ledger.series import START, hours

Piece = tuple[Window, datetime]


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    first = draw(st.integers(0, 20))
    return hours(first, draw(st.integers(first + 1, 24))), START + timedelta(days=draw(st.integers(0, 5)))


@given(st.lists(pieces(), max_size=12))
def test_each_instant_carries_its_latest_agreement_and_nothing_overlaps(given_pieces: list[Piece]) -> None:
    found = latest(given_pieces)

    for hour in range(24):
        over = [at for window, at in given_pieces if window.overlap(hours(hour, hour + 1))]
        kept = [at for window, at in found if window.overlap(hours(hour, hour + 1))]
        assert kept == ([max(over)] if over else [])


@given(st.lists(pieces(), max_size=10))
def test_the_order_of_agreements_decides_nothing(given_pieces: list[Piece]) -> None:
    assert latest(given_pieces) == latest(given_pieces[::-1])


def test_neighbours_of_one_instant_are_joined() -> None:
    assert latest([(hours(0, 2), START), (hours(2, 4), START)]) == [(hours(0, 4), START)]
