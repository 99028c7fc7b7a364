"""The order book of the synthetic market: ladders around the last trade, so that the two never contradict."""

from __future__ import annotations

import numpy as np

from marketlake.sandbox.listings import SPOT, Listing
from marketlake.sandbox.market import Record
from marketlake.sandbox.noise import Ints, bits, key_of
from marketlake.sandbox.tape import Fills
from marketlake.sandbox.texts import amount_texts, price_texts

_UPDATE_MS = 100


def depth(seed: int, listing: Listing, last_fill: Fills, limit: int, now_ms: int) -> Record:
    """Return the depth body: the last trade hit the best bid if its buyer was the maker, else the best ask."""
    update = now_ms // _UPDATE_MS
    bids, asks = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    if len(last_fill.number):
        price, sold = int(last_fill.price[0]), bool(last_fill.buyer_is_maker[0])
        key = key_of(seed, listing.venue, listing.symbol, "book", update)
        best_bid = price if sold else price - 1
        bids = best_bid - _steps(key, limit)
        bids = bids[bids > 0]
        asks = best_bid + 1 + _steps((key + 1) % 2**64, limit)
    head: Record = {"lastUpdateId": update - listing.listed_ms // _UPDATE_MS}
    if listing.venue != SPOT:
        head |= {"E": now_ms, "T": now_ms - 4}
    levels = [_levels(listing, key_of(seed, "side", side, update), ladder) for side, ladder in ((0, bids), (1, asks))]
    return head | {"bids": levels[0], "asks": levels[1]}


def _steps(key: int, limit: int) -> Ints:
    gaps = (bits(key, np.arange(limit, dtype=np.int64)) >> np.uint64(62)).astype(np.int64)
    gaps[0] = 0
    gaps[1:] += 1
    return np.cumsum(gaps)


def _levels(listing: Listing, key: int, prices: Ints) -> list[list[str]]:
    if not len(prices):
        return []
    typical = listing.trade_value * 10.0 ** (listing.price_digits + listing.amount_digits) / float(prices[0])
    drawn = bits(key, np.arange(len(prices), dtype=np.int64)) >> np.uint64(53)
    amounts = np.maximum(1, np.rint(drawn.astype(np.float64) / 1024.0 * typical)).astype(np.int64)
    texts = price_texts(listing, prices).to_pylist(), amount_texts(listing, amounts).to_pylist()
    return [list(level) for level in zip(*texts, strict=True)]
