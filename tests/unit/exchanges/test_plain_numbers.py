"""Tests for `marketlake.exchanges.plain_numbers`: equal to what looks at each text, or None."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from marketlake.exchanges import plain_numbers

DECIMAL = pa.decimal128(28, 12)
USUAL = ["0.00000001", "42258.31000000", "0.5", "9999999999999999.99", "1.123456789012", "100000.0", "0.0"]
UNUSUAL = ["", "1", "-1.5", "+1.5", " 1.5", "1.5\n", "1.", ".5", "007.5", "1.2.3", "1e5.0", "0x1.5", "\u0661.5",
           "1.1234567890123", "10000000000000000.0", "12345678901234567.1", "9999999999999999.999"]  # fmt: skip


def sliced(*texts: str | None) -> pa.Array:
    """Return the texts as a slice of a longer column."""
    return pa.array(["7.7", *texts, "x"], pa.string())[1:-1]


def test_usual_decimals_are_what_arrow_casts_them_to() -> None:
    draw = random.Random(7)
    drawn = [f"{draw.randrange(10 ** draw.randint(1, 8))}.{draw.randrange(10**10):010}" for _ in range(5_000)]

    found = plain_numbers.decimals(sliced(*USUAL, *drawn))

    assert found is not None
    found.validate(full=True)
    assert found.equals(pa.array([*USUAL, *drawn]).cast(DECIMAL))


@pytest.mark.parametrize("text", [*UNUSUAL, None])
def test_one_unusual_text_leaves_the_column_to_the_caller(text: str | None) -> None:
    assert plain_numbers.decimals(sliced("1.5", text, "2.5")) is None


def test_a_point_too_many_is_not_made_good_by_one_that_lacks() -> None:
    assert plain_numbers.decimals(sliced("1.2.3", "4", "5.6")) is None
    assert plain_numbers.decimals(sliced("4", "1.2.3", "5.6")) is None


def test_whole_numbers_are_digits_alone() -> None:
    found = plain_numbers.whole_numbers(sliced("0", "007", "123456789012345678"))

    assert found is not None
    assert found.to_pylist() == [0, 7, 123456789012345678]


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1.0", "0x1f", "1234567890123456789", "\u0661", None])
def test_one_that_is_no_whole_number_leaves_the_column_to_the_caller(text: str | None) -> None:
    assert plain_numbers.whole_numbers(sliced("1", text)) is None


@pytest.mark.parametrize(("text", "is_read"), [("123", False), ("1234", True), ("12345", True), ("123456", False)])
def test_whole_numbers_may_be_bounded_by_their_digits(text: str, is_read: bool) -> None:
    found = plain_numbers.whole_numbers(sliced("1234", text), least_digits=4, most_digits=5)

    assert (found is not None) is is_read


def test_a_column_without_texts_is_left_to_the_caller() -> None:
    assert plain_numbers.decimals(sliced()) is None
    assert plain_numbers.whole_numbers(sliced()) is None
