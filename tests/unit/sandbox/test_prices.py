"""Price paths: realistic levels, a perpetual near its spot price, the exchange's funding formula."""

import numpy as np
import pytest

from marketlake.sandbox.listings import SPOT, UM, synthetic_listings
from marketlake.sandbox.prices import funding_rates, index_at, premium_at, price_at, price_levels

LISTINGS = synthetic_listings(0)
DAY = 1440


@pytest.mark.parametrize("seed", range(6))
def test_bitcoin_stays_between_1000_and_200000(seed: int) -> None:
    listing = LISTINGS[SPOT]["BTCUSDT"]
    levels = price_at(seed, listing, np.arange(25_049_520, 30_000_000, 601))
    assert levels.min() > 1_000
    assert levels.max() < 200_000


def test_a_year_of_returns_looks_like_a_crypto_market() -> None:
    levels = price_levels(7, LISTINGS[SPOT]["BTCUSDT"], 28_400_000, 365 * DAY)
    hourly = np.diff(np.log(levels[::60]))
    yearly = hourly.std() * np.sqrt(365 * 24)
    assert 0.2 < yearly < 1.5


def test_the_perpetual_follows_its_spot_price_within_half_a_percent() -> None:
    spot = price_levels(7, LISTINGS[SPOT]["ETHUSDT"], 28_900_000, 5000)
    perpetual = price_levels(7, LISTINGS[UM]["ETHUSDT"], 28_900_000, 5000)
    gap = perpetual / spot - 1
    assert np.abs(gap).max() < 0.005
    assert np.abs(gap).max() > 0
    assert np.array_equal(spot, index_at(7, LISTINGS[UM]["ETHUSDT"], np.arange(28_900_000, 28_905_000)))


@pytest.mark.parametrize("venue", [SPOT, UM])
def test_the_price_of_single_minutes_is_that_of_the_path(venue: str) -> None:
    listing = LISTINGS[venue]["BTCUSDT"]
    path = price_levels(7, listing, 28_900_000, 3000)
    assert np.array_equal(price_at(7, listing, np.arange(28_900_000, 28_903_000, 7)), path[::7])


def test_a_perpetual_is_its_index_and_the_premium() -> None:
    listing, minutes = LISTINGS[UM]["BTCUSDT"], np.arange(28_900_000, 28_900_100)
    ratio = price_at(7, listing, minutes) / index_at(7, listing, minutes)
    assert np.allclose(ratio - 1, premium_at(7, listing, minutes), atol=1e-12)


@pytest.mark.parametrize(
    ("premium", "rate"),
    [(0.0, 10_000), (0.0001, 10_000), (0.0005, 10_000), (0.001, 50_000), (-0.0003, 10_000), (-0.001, -50_000)],
)
def test_funding_is_the_interest_unless_the_premium_is_far_from_it(premium: float, rate: int) -> None:
    assert funding_rates(np.array([premium])).tolist() == [rate]
