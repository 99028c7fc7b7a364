"""The markets that a bronze table holds, and the one that a user's text means."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from marketlake.datasets import Dataset
from marketlake.errors import UnknownExchangeError, UnknownSymbolError, one_of
from marketlake.lake.files import TableFiles

# As in the ledger's look-up: of markets of one name the plain one is meant.
_PLAINEST_FIRST = ("spot", "perpetual", "future")


@dataclass(frozen=True, order=True)
class HeldMarket:
    """A market that has rows in the lake."""

    exchange: str
    symbol: str
    exchange_symbol: str
    market_type: str


@lru_cache(maxsize=16)
def markets_in(table: TableFiles) -> tuple[HeldMarket, ...]:
    """Return the markets with rows in the table, sorted; reads four columns of its files, once per version."""
    found: set[HeldMarket] = set()
    for exchange in table.partition_values("exchange"):
        paths = [file.path for file in table.files if file.partitions["exchange"] == exchange]
        rows = (
            pl.scan_parquet(paths, hive_partitioning=False, glob=False, extra_columns="ignore")
            .select("symbol", "exchange_symbol", "market_type")
            .unique()
            .collect()
        )
        found |= {HeldMarket(exchange, *row) for row in rows.iter_rows()}
    return tuple(sorted(found))


def check_exchange(table: TableFiles, exchange: str) -> str:
    """Return the exchange if the table holds rows of it, or holds nothing at all.

    Raises:
        UnknownExchangeError: the table holds other exchanges only; the text names them.
    """
    known = table.partition_values("exchange")
    if known and exchange not in known:
        raise UnknownExchangeError(one_of("exchange", exchange, known))
    return exchange


def resolve_held_symbol(table: TableFiles, dataset: Dataset, exchange: str, text: str) -> str:
    """Return the symbol that a text such as `BTC/USDT`, `BTCUSDT`, `BTC-USDT` or `BTC-USDT-PERP` means.

    Raises:
        UnknownSymbolError: no market of the lake, or several, fit; the text names the candidates.
    """
    held = [market for market in markets_in(table) if market.exchange == exchange]
    symbols = [market.symbol for market in held]
    if text in symbols or not held:
        return text
    fitting = [market for market in held if _fits(market, text)]
    for market_type in _PLAINEST_FIRST:
        chosen = [market.symbol for market in fitting if market.market_type == market_type]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            raise UnknownSymbolError(f"symbol {text!r} fits several markets of {exchange}: {', '.join(chosen)}")
    raise UnknownSymbolError(f"{dataset.table} of {exchange}: {one_of('symbol', text, symbols)}")


def _fits(market: HeldMarket, text: str) -> bool:
    typed = text.upper().replace("-", "").replace("/", "")
    if typed.endswith("PERP"):
        return market.market_type == "perpetual" and _plain(market) == typed.removesuffix("PERP")
    return typed in (_plain(market), market.exchange_symbol.upper())


def _plain(market: HeldMarket) -> str:
    return market.symbol.partition(":")[0].replace("/", "").upper()
