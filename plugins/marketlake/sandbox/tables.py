"""Synthetic candles, trades and funding in the shapes they leave in: REST records, archive columns, Arrow tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.errors import UnknownSymbolError
from marketlake.instants import parse_instant, to_epoch_ms
from marketlake.sandbox.columns import chosen, integer_texts, integers, repeated
from marketlake.sandbox.intervals import LENGTHS, next_open
from marketlake.sandbox.listings import SPOT, UM, Listing
from marketlake.sandbox.market import KLINE_FIELDS, ArchivePath, KlineRow, Record
from marketlake.sandbox.noise import Ints, bits, key_of
from marketlake.sandbox.tape import MINUTE_MS, Fills, MinuteBars, trades_of
from marketlake.sandbox.texts import amount_texts, decimal_texts, price_texts, quote_texts

_DECIMAL = pa.decimal128(28, 12)
_INSTANT = pa.timestamp("us", tz="UTC")
_MICROSECONDS_FROM = 1_735_689_600_000  # spot archives switch units at 2025-01-01


@dataclass(frozen=True)
class Trades:
    """Single trades as columns: ids without gaps, prices in ticks, amounts in steps, microseconds."""

    number: Ints
    time_us: Ints
    price: Ints
    amount: Ints
    buyer_is_maker: Any


class _Listed(Protocol):
    def listings(self, venue: str) -> Any: ...


def listing_of(market: _Listed, symbol: str) -> Listing:
    """Return the listing of a unified symbol: `BTC/USDT` is spot, `BTC/USDT:USDT` the perpetual.

    Raises:
        UnknownSymbolError: the market does not list it.
    """
    venue = UM if ":" in symbol else SPOT
    found = market.listings(venue).get(symbol.split(":")[0].replace("/", ""))
    if found is None:
        known = ", ".join(one.unified for one in market.listings(venue).values())
        raise UnknownSymbolError(f"the sandbox does not list {symbol!r}; it has {known}")
    listing: Listing = found
    return listing


def to_ms(instant: datetime | str) -> int:
    """Return milliseconds since 1970 of an instant or its ISO text."""
    return to_epoch_ms(parse_instant(instant) if isinstance(instant, str) else instant)


def split(seed: int, listing: Listing, fills: Fills) -> Trades:
    """Return the single trades of fills: every fourth fill was filled by two makers."""
    _, last = trades_of(fills.number)
    first = fills.number + fills.number // 4
    twice = last > first
    repeat = np.where(twice, 2, 1)
    row = np.repeat(np.arange(len(repeat)), repeat)
    second = np.diff(row, prepend=-1) == 0
    parts = bits(key_of(seed, listing.venue, listing.symbol, "parts"), fills.number) % np.uint64(2**32)
    taken = 1 + parts.astype(np.int64) % np.maximum(fills.amount - 1, 1)
    amount = np.where(second, fills.amount[row] - taken[row], np.where(twice[row], taken[row], fills.amount[row]))
    return Trades(first[row] + second, fills.time_us[row], fills.price[row], amount, fills.buyer_is_maker[row])


def close_times(interval: str, bars: MinuteBars) -> Ints:
    """Return the first instant after each candle, in ms."""
    opens = bars.minute * MINUTE_MS
    if interval in LENGTHS:
        return opens + LENGTHS[interval]
    return np.array([next_open(interval, int(one)) for one in opens], dtype=np.int64)


def kline_rows(listing: Listing, interval: str, bars: MinuteBars) -> list[KlineRow]:
    """Return candles as the REST API sends them: arrays of twelve."""
    texts = [column.to_pylist() for column in _kline_texts(listing, bars)]
    opens, closes = (bars.minute * MINUTE_MS).tolist(), (close_times(interval, bars) - 1).tolist()
    columns = [opens, *texts[:5], closes, texts[5], bars.count.tolist(), *texts[6:], ["0"] * len(opens)]
    return [list(row) for row in zip(*columns, strict=True)]


def kline_columns(listing: Listing, interval: str, bars: MinuteBars, path: ArchivePath) -> tuple[str, list[Any]]:
    """Return header and text columns of a klines archive."""
    factor = _time_factor(path)
    texts = _kline_texts(listing, bars)
    opens = integer_texts(bars.minute * MINUTE_MS * factor)
    closes = integer_texts(close_times(interval, bars) * factor - 1)
    columns = [opens, *texts[:5], closes, texts[5], integer_texts(bars.count), *texts[6:], repeated("0", len(opens))]
    return "" if path.venue == SPOT else ",".join(KLINE_FIELDS), columns


def agg_trade_records(listing: Listing, fills: Fills) -> list[Record]:
    """Return aggregate trades as REST records."""
    names = ("a", "p", "q", "f", "l", "T", "m")
    first, last = trades_of(fills.number)
    columns = [
        fills.number.tolist(), price_texts(listing, fills.price).to_pylist(),
        amount_texts(listing, fills.amount).to_pylist(), first.tolist(), last.tolist(),
        (fills.time_us // 1000).tolist(), fills.buyer_is_maker.tolist(),
    ]  # fmt: skip
    return _records(names, columns, {"M": True} if listing.venue == SPOT else {})


def agg_trade_columns(listing: Listing, fills: Fills, path: ArchivePath) -> tuple[str, list[Any]]:
    """Return header and text columns of an aggTrades archive."""
    first, last = trades_of(fills.number)
    columns = [
        integer_texts(fills.number), price_texts(listing, fills.price), amount_texts(listing, fills.amount),
        integer_texts(first), integer_texts(last), _times(fills.time_us, path), _flags(fills.buyer_is_maker, path),
    ]  # fmt: skip
    header = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
    return _with_best_match(header, columns, path)


def trade_records(listing: Listing, trades: Trades) -> list[Record]:
    """Return trades as REST records."""
    names = ("id", "price", "qty", "quoteQty", "time", "isBuyerMaker")
    columns = [
        trades.number.tolist(), price_texts(listing, trades.price).to_pylist(),
        amount_texts(listing, trades.amount).to_pylist(),
        quote_texts(listing, trades.price * trades.amount).to_pylist(),
        (trades.time_us // 1000).tolist(), trades.buyer_is_maker.tolist(),
    ]  # fmt: skip
    return _records(names, columns, {"isBestMatch": True} if listing.venue == SPOT else {})


def trade_columns(listing: Listing, trades: Trades, path: ArchivePath) -> tuple[str, list[Any]]:
    """Return header and text columns of a trades archive."""
    columns = [
        integer_texts(trades.number), price_texts(listing, trades.price), amount_texts(listing, trades.amount),
        quote_texts(listing, trades.price * trades.amount), _times(trades.time_us, path),
        _flags(trades.buyer_is_maker, path),
    ]  # fmt: skip
    return _with_best_match("id,price,qty,quote_qty,time,is_buyer_maker", columns, path)


def funding_columns(listing: Listing, times: Ints, rates: Ints) -> tuple[str, list[Any]]:
    """Return header and text columns of a fundingRate archive."""
    hours = repeated(str(listing.funding_interval_hours), len(times))
    return "calc_time,funding_interval_hours,last_funding_rate", [
        integer_texts(times),
        hours,
        decimal_texts(rates, 8, shown=8),
    ]


def candle_table(listing: Listing, bars: MinuteBars) -> Any:
    """Return candles as an Arrow table in the project's column names."""
    names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    columns = {"open_time": pc.cast(integers(bars.minute * (MINUTE_MS * 1000)), _INSTANT)}
    columns |= {name: pc.cast(text, _DECIMAL) for name, text in zip(names, _kline_texts(listing, bars), strict=True)}
    columns["trade_count"] = integers(bars.count)
    return pa.table(columns)


def funding_table(times: Ints, rates: Ints, marks: Ints) -> Any:
    """Return funding events as an Arrow table in the project's column names."""
    exact = [pc.cast(decimal_texts(values, 8, shown=8), _DECIMAL) for values in (rates, marks)]
    instants = pc.cast(integers(times * 1000), _INSTANT)
    return pa.table({"funding_time": instants, "funding_rate": exact[0], "mark_price": exact[1]})


def _kline_texts(listing: Listing, bars: MinuteBars) -> list[Any]:
    prices = [price_texts(listing, column) for column in (bars.open, bars.high, bars.low, bars.close)]
    amount, taker = amount_texts(listing, bars.volume), amount_texts(listing, bars.taker_volume)
    return [*prices, amount, quote_texts(listing, bars.quote), taker, quote_texts(listing, bars.taker_quote)]


def _records(names: tuple[str, ...], columns: list[Any], last: Record) -> list[Record]:
    return [dict(zip(names, row, strict=True)) | last for row in zip(*columns, strict=True)]


def _time_factor(path: ArchivePath) -> int:
    return 1000 if path.venue == SPOT and path.start_ms >= _MICROSECONDS_FROM else 1


def _times(time_us: Ints, path: ArchivePath) -> Any:
    return integer_texts(time_us if _time_factor(path) == 1000 else time_us // 1000)


def _flags(values: Any, path: ArchivePath) -> Any:
    yes, no = ("True", "False") if path.venue == SPOT else ("true", "false")
    return chosen(values, no, yes)


def _with_best_match(header: str, columns: list[Any], path: ArchivePath) -> tuple[str, list[Any]]:
    """Spot files have no header and a last column that says True."""
    if path.venue == SPOT:
        return "", [*columns, repeated("True", len(columns[0]))]
    return header, columns
