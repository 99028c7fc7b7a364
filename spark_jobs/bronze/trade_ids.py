"""Identity of trades that their source gives without an id (QUA-03): what they are, and which of the equal ones.

Two answers name a trade alike only if neither splits an instant, so pages by time must begin and end between instants.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.bronze.exact_types import shortest


def with_trade_ids(page: pa.Table) -> pa.Table:
    """Return the page with a `trade_id` in every row; those that have one keep it.

    The others get `<event_time µs>-<price>-<amount>-<taker_side>-<ordinal>`: decimals without zeros at their end, the
    ordinal counting from 0 the page's rows without an id that are equal up to it. A row that lacks one of the four
    values has no identity: its `trade_id` stays null and its rules reject it.

    `page` is one answer about one market and trade kind, rows in the answer's order, with `event_time`
    (timestamp[us, UTC]), `price`, `amount` (decimal128(28, 12)), `taker_side` and `trade_id` (string).
    """
    place = page.schema.get_field_index("trade_id")
    ids = page["trade_id"].combine_chunks()
    if not ids.null_count:
        return page
    prints = pc.if_else(ids.is_null(), _prints(page), pa.scalar(None, pa.string()))
    made = pc.binary_join_element_wise(prints, _ordinals(prints), "-")
    return page.set_column(place, page.schema.field(place), pc.coalesce(ids, made))


def _prints(page: pa.Table) -> pa.Array:
    """What each row says, without its ordinal; null where it lacks a value."""
    instants = page["event_time"].combine_chunks().cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).cast(pa.string())
    values = (shortest(page[name].combine_chunks()) for name in ("price", "amount"))
    return pc.binary_join_element_wise(instants, *values, page["taker_side"].combine_chunks(), "-")


def _ordinals(prints: pa.Array) -> pa.Array:
    """How many equal texts stand before each, as text."""
    codes = prints.dictionary_encode(null_encoding="encode").indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    counts = np.diff(starts, append=len(codes))
    ordinals = np.empty(len(codes), dtype=np.int64)
    ordinals[order] = np.arange(len(codes)) - np.repeat(starts, counts)
    return pa.array(ordinals).cast(pa.string())
