"""The price paths of the synthetic market: one per pair of assets, followed by its perpetual at a small premium."""

from __future__ import annotations

import numpy as np

from marketlake.sandbox.listings import SPOT, Listing
from marketlake.sandbox.noise import Floats, Ints, exponential, key_of, pyramid

# ± in log price at every 4^k minutes: 0.55 at two years, half for each level below, so a minute moves by about 5 bps.
_WALK = tuple(0.55 / 2 ** (10 - level) for level in range(11))
# ± of the perpetual's premium over spot, from 4 hours to 11 days.
_PREMIUM = (0.0, 0.0, 0.0, 0.0, 0.0006, 0.0007, 0.0007, 0.0006)
_TREND_FROM, _TREND_TO = 25_033_200, 28_926_720  # 2017-08-06 and 2024-12-31 in minutes since 1970
_INTEREST = 0.0001
_CLAMP = 0.0005


def price_levels(seed: int, listing: Listing, first_minute: int, count: int) -> Floats:
    """Return the price, in quote, at `count` consecutive minute boundaries from `first_minute` (since 1970)."""
    levels = spot_levels(seed, listing, first_minute, count)
    return levels if listing.venue == SPOT else levels * (1.0 + premiums(seed, listing, first_minute, count))


def spot_levels(seed: int, listing: Listing, first_minute: int, count: int) -> Floats:
    """Return the price of the pair itself, which the perpetual's index follows."""
    pair = listing.asset_pair
    walk = pyramid(key_of(seed, pair, "walk"), _WALK, first_minute, count, calm=key_of(seed, pair, "calm"))
    minutes = np.arange(first_minute, first_minute + count, dtype=np.int64)
    passed = np.clip((minutes - _TREND_FROM) / (_TREND_TO - _TREND_FROM), 0.0, 1.0)
    growth = _log_ratio(listing.price_now / listing.price_then)
    walk += passed * growth
    return exponential(walk) * listing.price_then


def premiums(seed: int, listing: Listing, first_minute: int, count: int) -> Floats:
    """Return (perpetual − spot) / spot at consecutive minute boundaries."""
    return _INTEREST + pyramid(key_of(seed, listing.asset_pair, "premium"), _PREMIUM, first_minute, count)


def premium_at(seed: int, listing: Listing, minutes: Ints) -> Floats:
    """Return the premium at single minutes, far apart as they may be."""
    return np.array([premiums(seed, listing, int(minute), 1)[0] for minute in minutes], dtype=np.float64)


def funding_rates(premium: Floats) -> Ints:
    """Return the funding rate, in units of 1e-8, that the exchange's formula gives for a premium.

    rate = premium + clamp(interest − premium, ±0.05 %), as in Binance's description of funding rates.
    """
    rate = premium + np.clip(_INTEREST - premium, -_CLAMP, _CLAMP)
    return np.rint(rate * 1e8).astype(np.int64)


def _log_ratio(ratio: float) -> float:
    """The exponent that `exponential` turns into this ratio, by the inverse of its ten squarings."""
    root = ratio
    for _ in range(10):
        root = root**0.5
    return (root - 1.0) * 1024.0
