import random
from decimal import Decimal, localcontext

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlake.lake.floats import floats_of, to_float64

EXACT = pa.decimal128(28, 12)


def doubles_of(texts: list[str]) -> list[float]:
    return to_float64(pa.array(texts).cast(EXACT)).to_pylist()


def test_two_million_prices_and_volumes_become_the_doubles_nearest_to_their_text():
    rng = np.random.default_rng(7)
    wholes = rng.integers(0, 10 ** rng.integers(1, 12, 2_000_000))
    texts = [f"{whole}.{part:08d}" for whole, part in zip(wholes, rng.integers(0, 10**8, 2_000_000), strict=True)]
    ours = to_float64(pa.array(texts).cast(EXACT)).to_numpy()
    assert (ours != np.array([float(text) for text in texts])).sum() == 0


def test_twelve_digits_after_the_point_and_large_values_are_exact_too():
    rng = random.Random(11)
    texts = [f"{rng.randrange(10 ** rng.randrange(1, 16))}.{rng.randrange(10**12):012d}" for _ in range(100_000)]
    assert doubles_of(texts) == [float(text) for text in texts]


def test_negative_values_and_zero_keep_their_value():
    texts = ["-0.00010000", "0.00000000", "-12345678901234.123456789012", "0.000000000001"]
    assert doubles_of(texts) == [float(text) for text in texts]


def test_null_stays_null_beside_large_values():
    values = pa.array([None, Decimal("99999999999.12345678"), None], type=EXACT)
    assert to_float64(values).to_pylist() == [None, 99999999999.12345678, None]


def test_a_slice_reads_its_own_values():
    values = pa.array([Decimal(n) for n in range(10)], type=EXACT)
    assert to_float64(values.slice(3, 2)).to_pylist() == [3.0, 4.0]


def test_only_decimal_columns_change():
    table = pa.table({"close": pa.array([Decimal("1.5")], type=EXACT), "trade_count": [3]})
    assert floats_of(table).to_pylist() == [{"close": 1.5, "trade_count": 3}]


def test_an_empty_column_becomes_an_empty_float_column():
    assert to_float64(pa.chunked_array([], type=EXACT)).type == pa.float64()


@st.composite
def whole_numbers(draw):
    """Values as exchanges send them: few or many digits, with zeros at their end or without."""
    digits = draw(st.integers(0, 28))
    number = draw(st.integers(-(10**digits) + 1, 10**digits - 1))
    return number * 10 ** draw(st.integers(0, 28 - digits))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.one_of(st.none(), whole_numbers()), max_size=40), st.sampled_from([0, 2, 4, 8, 12, 24, 28]))
def test_every_decimal_becomes_the_double_nearest_to_its_text(wholes, scale):
    with localcontext(prec=40):
        exact = [None if whole is None else Decimal(whole).scaleb(-scale) for whole in wholes]
    expected = [None if value is None else float(str(value)) for value in exact]
    assert to_float64(pa.array(exact, type=pa.decimal128(28, scale))).to_pylist() == expected


@settings(deadline=None, max_examples=20)
@given(whole_numbers(), st.integers(0, 1 << 15))
def test_a_long_value_among_prices_changes_neither(whole, place):
    wholes = [price * 10**10 for price in range(6_000_000, 6_000_000 + (1 << 15) + 1)]
    wholes[place] = whole
    with localcontext(prec=40):
        exact = [Decimal(whole).scaleb(-12) for whole in wholes]
    chunks = pa.chunked_array([exact[:place], exact[place:]], type=EXACT)
    assert to_float64(chunks).to_pylist() == [float(str(value)) for value in exact]
