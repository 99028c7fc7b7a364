"""Candles from trades, by the trades' event time (TRF-13). Every sum is exact or null, never rounded."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from marketlake.errors import DataError
from marketlake.timeframes import timeframe_length

_DECIMAL = pa.decimal128(28, 12)
_LARGEST = Decimal("9999999999999999.999999999999")
# A product of two decimal(28,12) has 24 digits after the point; 52 before it hold the sum of any number of them.
_WIDE = pa.decimal256(76, 24)
_CUT = pa.decimal256(64, 12)
_REQUIRED = ("event_time", "price", "amount", "trade_kind")
TRADE_SCHEMA = pa.schema(
    {
        "event_time": pa.timestamp("us", tz="UTC"),
        "price": _DECIMAL,
        "amount": _DECIMAL,
        "taker_side": pa.string(),
        "trade_kind": pa.string(),
        "first_trade_id": pa.int64(),
        "last_trade_id": pa.int64(),
    }
)
CANDLE_SCHEMA = pa.schema(
    {
        "open_time": pa.timestamp("us", tz="UTC"),
        "open": _DECIMAL,
        "high": _DECIMAL,
        "low": _DECIMAL,
        "close": _DECIMAL,
        "volume": _DECIMAL,
        "quote_volume": _DECIMAL,
        "trade_count": pa.int64(),
        "taker_buy_volume": _DECIMAL,
        "taker_buy_quote_volume": _DECIMAL,
    }
)


def candles_from_trades(trades: pa.Table, timeframe: str) -> pa.Table:
    """Return the candles (`CANDLE_SCHEMA`, by open time) of one market's trades (`TRADE_SCHEMA`, other columns unread).

    The trades come in the order of the exchange's ids, which decides between trades of one instant. A grid slot
    without a trade has no row; whether the trades cover the first and the last slot wholly is for the caller to know.
    A sum that decimal(28,12) does not hold exactly is null, and so is what a trade's missing side or ids leave unknown.

    Raises:
        DataError: the trades are of several kinds, so some would count twice, or one lacks its instant or a value.
        UnknownNameError: the timeframe is unreadable.
    """
    trades = trades.select(TRADE_SCHEMA.names).cast(TRADE_SCHEMA).combine_chunks()
    _check(trades)
    length = timeframe_length(timeframe)
    slots = _slots(trades, length)
    columns = {
        "open_time": slots["open_time"],
        "open": trades["price"].take(slots["row_min"]),
        "high": slots["price_max"],
        "low": slots["price_min"],
        "close": trades["price"].take(slots["row_max"]),
        "volume": _fitting(slots["amount_sum"]),
        "quote_volume": _fitting(slots["quote_sum"]),
        "trade_count": slots["count_sum"],
        "taker_buy_volume": _fitting(slots["bought_sum"]),
        "taker_buy_quote_volume": _fitting(slots["bought_quote_sum"]),
    }
    return pa.table(columns, schema=CANDLE_SCHEMA)


def _check(trades: pa.Table) -> None:
    missing = {name: trades[name].null_count for name in _REQUIRED if trades[name].null_count}
    if missing:
        raise DataError(
            f"trades must have {', '.join(_REQUIRED)} to become candles; nulls by column: {missing}: "
            "build candles from rows that passed the rules"
        )
    kinds = sorted(trades["trade_kind"].unique().to_pylist())
    if len(kinds) > 1 or not set(kinds) <= {"agg", "trade"}:
        raise DataError(
            f"candles are built from trades of one kind, 'agg' or 'trade', or trades would count twice; was {kinds}: "
            "filter by trade_kind"
        )


def _slots(trades: pa.Table, length: timedelta) -> pa.Table:
    """One row per slot that has a trade: sums and extremes of its trades, and which of them come first and last."""
    wide_amount = trades["amount"].cast(pa.decimal256(28, 12))
    quote = pc.multiply(trades["price"].cast(pa.decimal256(28, 12)), wide_amount)
    is_bought = pc.equal(trades["taker_side"], "buy")
    rows = pa.table(
        {
            "open_time": _floored(trades["event_time"], length),
            "row": pa.array(range(trades.num_rows), pa.int64()),
            "price": trades["price"],
            "amount": trades["amount"],
            "quote": quote,
            "count": _counts(trades),
            "bought": _where(is_bought, trades["amount"]),
            "bought_quote": _where(is_bought, quote),
        }
    )
    # A sum with an unknown part is unknown.
    strict = pc.ScalarAggregateOptions(skip_nulls=False)
    summed = [(name, "sum", strict) for name in ("amount", "quote", "count", "bought", "bought_quote")]
    extremes = [(name, kind) for name in ("row", "price") for kind in ("min", "max")]
    return rows.group_by("open_time").aggregate([*summed, *extremes]).sort_by("open_time")


def _floored(instants: pa.ChunkedArray, length: timedelta) -> pa.ChunkedArray:
    # Without its zone, which is UTC, an instant needs no time zone database.
    plain = instants.cast(pa.timestamp("us"))
    return pc.floor_temporal(plain, multiple=length // timedelta(minutes=1), unit="minute").cast(instants.type)


def _counts(trades: pa.Table) -> pa.ChunkedArray:
    """How many single trades each row is."""
    joined = pc.add(pc.subtract(trades["last_trade_id"], trades["first_trade_id"]), 1)
    return pc.if_else(pc.equal(trades["trade_kind"], "agg"), joined, 1)


def _where(condition: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The value where the condition holds, zero where it does not, null where it is null."""
    return pc.if_else(condition, values, pa.scalar(Decimal(0), values.type))


def _fitting(sums: pa.ChunkedArray) -> pa.ChunkedArray:
    wide = sums.cast(_WIDE)
    cut = wide.cast(_CUT, safe=False)
    is_exact = pc.equal(cut.cast(_WIDE), wide)
    fits = pc.and_(is_exact, pc.less_equal(pc.abs(cut), pa.scalar(_LARGEST, _CUT)))
    return pc.if_else(fits, cut, pa.scalar(None, _CUT)).cast(_DECIMAL)
