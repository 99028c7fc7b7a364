"""Whole numbers of ticks, steps or ticks × steps as the decimal text that the exchange sends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from marketlake.sandbox.columns import chosen, integer_texts, joined, repeated
from marketlake.sandbox.listings import SPOT, Listing
from marketlake.sandbox.noise import Ints

SPOT_DIGITS = 8


def decimal_texts(values: Ints, digits: int, *, shown: int) -> Any:
    """Return an Arrow array of texts such as `0.00010000`: `values` × 10^-digits, `shown` digits after the point."""
    if digits > shown:
        raise ValueError(f"shown must be at least digits; was {shown}, digits {digits}")
    unit = 10**digits
    whole = integer_texts(np.abs(values) // unit)
    if (values < 0).any():
        whole = joined([chosen(values < 0, "", "-"), whole], "")
    if shown == 0:
        return whole
    fraction = pc.utf8_lpad(integer_texts(np.abs(values) % unit), digits, padding="0")
    if digits == 0:
        fraction = repeated("", len(values))
    fraction = pc.utf8_rpad(fraction, shown, padding="0")
    return joined([whole, fraction], ".")


def price_texts(listing: Listing, ticks: Ints) -> Any:
    """Return prices: eight digits on spot, the symbol's own on USD-M."""
    return decimal_texts(ticks, listing.price_digits, shown=_shown(listing, listing.price_digits))


def amount_texts(listing: Listing, steps: Ints) -> Any:
    """Return base amounts: eight digits on spot, the symbol's own on USD-M."""
    return decimal_texts(steps, listing.amount_digits, shown=_shown(listing, listing.amount_digits))


def quote_texts(listing: Listing, values: Ints) -> Any:
    """Return quote amounts, which are prices × amounts."""
    digits = listing.price_digits + listing.amount_digits
    return decimal_texts(values, digits, shown=_shown(listing, digits))


def _shown(listing: Listing, digits: int) -> int:
    return max(digits, SPOT_DIGITS) if listing.venue == SPOT else digits
