"""The price paths of the synthetic market: one per pair of assets, followed by its perpetual at a small premium."""

from __future__ import annotations

import numpy as np

from marketlake.sandbox.listings import SPOT, Listing
from marketlake.sandbox.noise import Floats, Ints, exponential, key_of, pyramid, pyramid_at

# ± in log price at every 4^k minutes: 0.55 at two years, half for each level below, so a minute moves by about 5 bps.
_WALK = tuple(0.55 / 2 ** (10 - level) for level in range(11))
# ± of the perpetual's premium over spot, from 4 hours to 11 days.
_PREMIUM = (0.0, 0.0, 0.0, 0.0, 0.0006, 0.0007, 0.0007, 0.0006)
_TREND_FROM, _TREND_TO = 25_033_200, 28_926_720  # 2017-08-06 and 2024-12-31 in minutes since 1970
_INTEREST = 0.0001
_CLAMP = 0.0005


def price_levels(seed: int, listing: Listing, first_minute: int, count: int) -> Floats:
    """Return the price, in quote, at `count` consecutive minute boundaries from `first_minute` (since 1970)."""
    minutes = np.arange(first_minute, first_minute + count, dtype=np.int64)
    walk = pyramid(*_walk(seed, listing), first_minute, count, calm=_calm(seed, listing))
    levels = _levels(listing, walk, minutes)
    if listing.venue == SPOT:
        return levels
    return levels * (1.0 + (_INTEREST + pyramid(*_premium(seed, listing), first_minute, count)))


def price_at(seed: int, listing: Listing, minutes: Ints) -> Floats:
    """Return `price_levels` at single minutes, far apart as they may be."""
    levels = index_at(seed, listing, minutes)
    return levels if listing.venue == SPOT else levels * (1.0 + premium_at(seed, listing, minutes))


def index_at(seed: int, listing: Listing, minutes: Ints) -> Floats:
    """Return the price of the pair itself, which the perpetual's index follows, at single minutes."""
    return _levels(listing, pyramid_at(*_walk(seed, listing), minutes, calm=_calm(seed, listing)), minutes)


def premium_at(seed: int, listing: Listing, minutes: Ints) -> Floats:
    """Return (perpetual − spot) / spot at single minutes."""
    return _INTEREST + pyramid_at(*_premium(seed, listing), minutes)


def funding_rates(premium: Floats) -> Ints:
    """Return the funding rate, in units of 1e-8, that the exchange's formula gives for a premium.

    rate = premium + clamp(interest − premium, ±0.05 %), as in Binance's description of funding rates.
    """
    rate = premium + np.clip(_INTEREST - premium, -_CLAMP, _CLAMP)
    return np.rint(rate * 1e8).astype(np.int64)


def _walk(seed: int, listing: Listing) -> tuple[int, tuple[float, ...]]:
    return key_of(seed, listing.asset_pair, "walk"), _WALK


def _calm(seed: int, listing: Listing) -> int:
    return key_of(seed, listing.asset_pair, "calm")


def _premium(seed: int, listing: Listing) -> tuple[int, tuple[float, ...]]:
    return key_of(seed, listing.asset_pair, "premium"), _PREMIUM


def _levels(listing: Listing, walk: Floats, minutes: Ints) -> Floats:
    passed = np.clip((minutes - _TREND_FROM) / (_TREND_TO - _TREND_FROM), 0.0, 1.0)
    growth = _log_ratio(listing.price_now / listing.price_then)
    return exponential(walk + passed * growth) * listing.price_then


def _log_ratio(ratio: float) -> float:
    """The exponent that `exponential` turns into this ratio, by the inverse of its ten squarings."""
    root = ratio
    for _ in range(10):
        root = root**0.5
    return (root - 1.0) * 1024.0
