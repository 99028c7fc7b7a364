"""Integers as decimal text, never in scientific notation and never through a float."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.sandbox.listings import SPOT, UM, synthetic_listings
from marketlake.sandbox.texts import amount_texts, decimal_texts, price_texts, quote_texts

LISTINGS = synthetic_listings(0)


@pytest.mark.parametrize(
    ("value", "digits", "shown", "text"),
    [
        (1, 8, 8, "0.00000001"),
        (9836361, 2, 8, "98363.61000000"),
        (-10_000, 8, 8, "-0.00010000"),
        (0, 2, 8, "0.00000000"),
        (17, 0, 0, "17"),
        (17, 0, 3, "17.000"),
        (9_007_199_254_740_993, 7, 8, "900719925.47409930"),
    ],
)
def test_a_value_becomes_its_exact_text(value: int, digits: int, shown: int, text: str) -> None:
    assert decimal_texts(np.array([value]), digits, shown=shown).to_pylist() == [text]


@given(st.integers(-(2**62), 2**62), st.integers(0, 10), st.integers(0, 4))
def test_the_text_reads_back_as_the_value(value: int, digits: int, more: int) -> None:
    text = decimal_texts(np.array([value]), digits, shown=digits + more).to_pylist()[0]
    assert Decimal(text) == Decimal(value).scaleb(-digits)
    assert len(text.partition(".")[2]) == digits + more


def test_digits_that_would_be_lost_are_refused() -> None:
    with pytest.raises(ValueError, match="shown must be at least digits"):
        decimal_texts(np.array([1]), 8, shown=2)


def test_spot_shows_eight_digits_and_futures_their_own() -> None:
    spot, um = LISTINGS[SPOT]["BTCUSDT"], LISTINGS[UM]["BTCUSDT"]
    values = np.array([123456])
    texts = [
        make(listing, values).to_pylist()[0]
        for listing in (spot, um)
        for make in (price_texts, amount_texts, quote_texts)
    ]
    assert texts == ["1234.56000000", "1.23456000", "0.01234560", "1234.56", "123.456", "1.23456"]
