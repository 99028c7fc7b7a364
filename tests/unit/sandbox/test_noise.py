"""Random numbers by index: equal wherever they are asked from, spread evenly, continuous where they should be."""

import math

import numpy as np
import pytest

from marketlake.sandbox.noise import bits, exponential, key_of, pyramid, pyramid_at, unit, units

KEY = key_of(7, "test")
AMPLITUDES = (0.01, 0.02, 0.04, 0.08, 0.16)


def test_keys_depend_on_every_part_and_on_where_parts_end() -> None:
    keys = {key_of(7, "a", "b"), key_of(7, "ab", ""), key_of(8, "a", "b"), key_of(7, "a")}
    assert len(keys) == 4


def test_a_key_is_the_same_number_for_ever() -> None:
    assert key_of(7, "spot", "BTCUSDT", "tape") == 2092676290283540123


def test_the_bits_of_an_index_do_not_depend_on_its_neighbours() -> None:
    together = bits(KEY, np.arange(1000, 1100))
    alone = [int(bits(KEY, np.array([index]))[0]) for index in range(1000, 1100)]
    assert together.tolist() == alone


def test_units_fill_the_range_from_zero_to_one_evenly() -> None:
    drawn = units(KEY, np.arange(100_000))
    shares = np.histogram(drawn, bins=10, range=(0, 1))[0] / len(drawn)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert np.abs(shares - 0.1).max() < 0.005


def test_neighbouring_indices_are_not_correlated() -> None:
    drawn = units(KEY, np.arange(100_000))
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


def test_one_unit_is_the_unit_of_the_array() -> None:
    assert unit(KEY, 42) == units(KEY, np.arange(100))[42]


@pytest.mark.parametrize("first", [0, 1, 3, 17, 255, 256, 29_000_001])
def test_a_walk_opened_in_the_middle_equals_the_walk_from_further_back(first: int) -> None:
    long = pyramid(KEY, AMPLITUDES, first, 500)
    assert np.array_equal(pyramid(KEY, AMPLITUDES, first + 123, 77), long[123:200])
    assert pyramid(KEY, AMPLITUDES, first + 499, 1)[0] == long[499]


@pytest.mark.parametrize("calm", [None, 99])
def test_single_points_of_a_walk_are_those_of_the_walk_to_the_last_bit(calm: int | None) -> None:
    amplitudes = tuple(0.5 / 2 ** (10 - level) for level in range(11))
    walk = pyramid(KEY, amplitudes, 28_000_000, 20_000, calm=calm)
    chosen = np.arange(0, 20_000, 13)
    assert np.array_equal(pyramid_at(KEY, amplitudes, chosen + 28_000_000, calm=calm), walk[chosen])


def test_a_walk_stays_within_the_sum_of_its_amplitudes() -> None:
    walk = pyramid(KEY, AMPLITUDES, 1_000_000, 50_000)
    assert np.abs(walk).max() <= sum(AMPLITUDES)
    assert np.abs(walk).max() > 0.5 * sum(AMPLITUDES)


def test_a_step_of_the_walk_is_small_beside_its_range() -> None:
    walk = pyramid(KEY, (0.0, *AMPLITUDES[1:]), 1_000_000, 50_000)
    assert np.abs(np.diff(walk)).max() < 0.25 * np.ptp(walk)


def test_calm_and_storm_alternate_by_the_fortnight() -> None:
    fine = (0.01,) * 7 + (0.0,)
    walk = pyramid(KEY, fine, 0, 40 * 4**7, calm=key_of("calm"))
    spread = np.abs(np.diff(walk)).reshape(-1)[: 39 * 4**7].reshape(39, -1).mean(axis=1)
    assert spread.max() > 2 * spread.min()


@pytest.mark.parametrize("x", [-2.5, -1.0, -1e-6, 0.0, 0.3, 2.5])
def test_the_exponential_is_close_to_that_of_mathematics(x: float) -> None:
    assert exponential(np.array([x]))[0] == pytest.approx(math.exp(x), rel=4e-3)
