"""The registry of exchanges: id → client, capabilities, archive layout, readers. A new exchange is one entry here.

Entries name their modules; a module is imported when it is first used, so that planning does not pay for HTTP and
Spark's executors import the readers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from marketlake.errors import UnknownExchangeError, one_of
from marketlake.exchanges.protocol import ArchiveLayout, Capabilities, ExchangeClient, Readers
from marketlake.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    from marketlake.exchanges.http import Requester
    from marketlake.settings import Exchange


@dataclass(frozen=True)
class ExchangeEntry:
    """One exchange. `client_module` has `Client(settings, requester)`, `readers_module` the functions of `Readers`,
    `archives_module` those of `ArchiveLayout` (None where there are no archives)."""

    exchange: str
    capabilities: Capabilities
    client_module: str
    readers_module: str
    archives_module: str | None = None

    def client(self, settings: Exchange, requester: Requester) -> ExchangeClient:
        """Return a client of the addresses in the settings, which asks through the requester."""
        return cast("ExchangeClient", import_module(self.client_module).Client(settings, requester))

    @property
    def readers(self) -> Readers:
        """The functions that read this exchange's landed files."""
        return cast("Readers", import_module(self.readers_module))

    @property
    def archives(self) -> ArchiveLayout | None:
        """The layout of the exchange's archives, None where it offers none."""
        return None if self.archives_module is None else cast("ArchiveLayout", import_module(self.archives_module))


BINANCE = ExchangeEntry(
    exchange="binance",
    capabilities=Capabilities(
        market_types=("spot", "perpetual", "future"),
        sources=MappingProxyType(dict.fromkeys(("ohlcv", "funding_rates", "trades"), ("archive", "rest"))),
        timeframes=TIMEFRAMES,
        page_rows=MappingProxyType(
            {
                ("ohlcv", "spot"): 1000,
                ("ohlcv", "perpetual"): 1500,
                ("ohlcv", "future"): 1500,
                ("funding_rates", "perpetual"): 1000,
                **{("trades", market_type): 1000 for market_type in ("spot", "perpetual", "future")},
            }
        ),
        weight_scopes=("spot", "usdm", "usdm_funding"),
    ),
    client_module="marketlake.exchanges.binance.client",
    readers_module="marketlake.exchanges.binance.readers",
    archives_module="marketlake.exchanges.binance.archive_layout",
)

EXCHANGES: Mapping[str, ExchangeEntry] = MappingProxyType({entry.exchange: entry for entry in (BINANCE,)})


def exchange_named(exchange: str, *, known: Mapping[str, ExchangeEntry] = EXCHANGES) -> ExchangeEntry:
    """Return the entry of an exchange id.

    Raises:
        UnknownExchangeError: no such exchange; the text names the known ids.
    """
    if exchange not in known:
        raise UnknownExchangeError(one_of("exchange", exchange, known))
    return known[exchange]
