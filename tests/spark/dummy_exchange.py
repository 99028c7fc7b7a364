"""An exchange as a newcomer brings it: one module with its client and readers, and one entry. It speaks as Binance."""

from __future__ import annotations

from types import MappingProxyType

from marketlake.exchanges.binance.client import Client
from marketlake.exchanges.binance.readers import read_batches, read_rows
from marketlake.exchanges.protocol import Capabilities
from marketlake.exchanges.registry import ExchangeEntry

__all__ = ["ENTRY", "Client", "read_batches", "read_rows"]

ENTRY = ExchangeEntry(
    exchange="dummy",
    capabilities=Capabilities(
        market_types=("spot",),
        sources=MappingProxyType({"ohlcv": ("rest",)}),
        timeframes=("1m", "1h"),
        page_rows=MappingProxyType({("ohlcv", "spot"): 1000}),
        weight_scopes=("spot", "usdm", "usdm_funding"),
    ),
    client_module="dummy_exchange",
    readers_module="dummy_exchange",
)
