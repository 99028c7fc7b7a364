"""Tests for `spark_jobs.bronze.exact_types`: text to exact values, or null."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.bronze.exact_types import (
    INSTANT,
    cut_to_milliseconds,
    decimals,
    nearest_minute,
    texts,
    whole_numbers,
)


def one_decimal(text: str | None) -> Decimal | None:
    return decimals(texts(pa.array([text], pa.string())))[0].as_py()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42000.00000000", "42000"),
        ("0.000000000001", "0.000000000001"),
        ("-0", "0"),
        ("+7.50", "7.5"),
        (" 7 ", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("9999999999999999.999999999999", "9999999999999999.999999999999"),
        ("00000000000000000000001.5", "1.5"),
        ("1.0000000000000000000", "1"),
        ("1e-7", "0.0000001"),
        ("2.5E3", "2500"),
        ("1.0e-12", "0.000000000001"),
    ],
)
def test_a_text_that_fits_keeps_every_digit(text: str, value: str) -> None:
    assert one_decimal(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    ["", "   ", None, "n/a", "NaN", "inf", "1,000", "0x10", "1.2.3", "--1", "1e", "e5", "1_000", "１２"],
)
def test_a_text_that_is_no_number_is_null(text: str | None) -> None:
    assert one_decimal(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "0.0000000000001",
        "1.0000000000005",
        "10000000000000000",
        "99999999999999999.9",
        "1e-13",
        "1e16",
        "1e400",
        "1e-999",
    ],
)
def test_a_number_that_would_lose_a_digit_is_null_and_never_rounded(text: str) -> None:
    assert one_decimal(text) is None


@given(st.decimals(min_value=-(10**15), max_value=10**15, places=12, allow_nan=False, allow_infinity=False))
def test_any_number_of_twelve_places_comes_back_exactly_in_both_notations(number: Decimal) -> None:
    assert one_decimal(f"{number:f}") == number
    assert one_decimal(f"{number:e}") == number


def test_whole_numbers_are_exact_and_fractions_are_not_whole() -> None:
    given_texts = texts(pa.array(["7", "+7", "-7", "123456789012345678", "7.0", "1234567890123456789", "x", None]))

    assert whole_numbers(given_texts).to_pylist() == [7, 7, -7, 123456789012345678, None, None, None, None]


def instants(*values: datetime | None) -> pa.Array:
    return pa.array(list(values), INSTANT)


def test_instants_are_cut_to_milliseconds_and_not_rounded() -> None:
    late = datetime(2025, 1, 1, 0, 59, 59, 999_999, tzinfo=UTC)

    assert cut_to_milliseconds(instants(late, None)).to_pylist() == [late.replace(microsecond=999_000), None]


def test_funding_instants_go_to_the_nearest_minute() -> None:
    times = instants(
        datetime(2025, 1, 1, 8, 0, 0, 31_000, tzinfo=UTC),
        datetime(2025, 1, 1, 7, 59, 59, 990_000, tzinfo=UTC),
        datetime(2025, 1, 1, 8, 0, 30, tzinfo=UTC),
        None,
    )

    eight = datetime(2025, 1, 1, 8, tzinfo=UTC)
    assert nearest_minute(times).to_pylist() == [eight, eight, eight.replace(minute=1), None]
