"""Opens an exchange: its entry, its client, its budget, from the settings."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import httpx

from marketlake.errors import UnknownExchangeError
from marketlake.exchanges.budget import LocalBudget, RequestBudget
from marketlake.exchanges.http import LIVE, MARKET_HEADER, Requester, http_client
from marketlake.exchanges.protocol import ExchangeClient
from marketlake.exchanges.registry import EXCHANGES, ExchangeEntry, exchange_named
from marketlake.instants import Clock, OffsetClock
from marketlake.settings import Exchange, Settings

_SECONDS_A_MINUTE = 60


def exchange_settings(settings: Settings, exchange: str, *, known: Mapping[str, ExchangeEntry] = EXCHANGES) -> Exchange:
    """Return the exchange's section of the settings.

    Raises:
        UnknownExchangeError: no client is registered under the id, or the settings have no section for it.
    """
    exchange_named(exchange, known=known)
    if exchange not in settings.exchanges:
        raise UnknownExchangeError(f"the settings have no section exchanges.{exchange}; add one with its rest_url")
    return settings.exchanges[exchange]


def open_client(
    settings: Settings,
    exchange: str,
    *,
    budget: RequestBudget | None = None,
    clock: Clock | None = None,
    market: str | None = None,
    stop: threading.Event | None = None,
    known: Mapping[str, ExchangeEntry] = EXCHANGES,
) -> ExchangeClient:
    """Return a client of the exchange; close it after use.

    Without a budget it uses one of this process; `clock` stamps what it receives, by default the machine's; `market` is
    the only one whose answers are taken; setting `stop` ends its pauses.

    Raises:
        UnknownExchangeError: as `exchange_settings`.
    """
    entry, section = exchange_named(exchange, known=known), exchange_settings(settings, exchange, known=known)
    scopes = entry.capabilities.weight_scopes
    requester = open_requester(
        settings, exchange, section, scopes=scopes, budget=budget, clock=clock, market=market, stop=stop
    )
    return entry.client(section, requester)


def market_behind(address: str, *, timeout_seconds: float) -> str | None:
    """Return the market that an address says it is in whatever it answers, None where nothing answers."""
    try:
        with http_client(timeout_seconds=timeout_seconds) as http:
            return str(http.get(address).headers.get(MARKET_HEADER, LIVE))
    except httpx.HTTPError:
        return None


def open_requester(
    settings: Settings,
    exchange: str,
    section: Exchange,
    *,
    scopes: tuple[str, ...],
    budget: RequestBudget | None = None,
    clock: Clock | None = None,
    market: str | None = None,
    stop: threading.Event | None = None,
) -> Requester:
    """Return a requester with a connection pool of its own; one request waits at most as long as a job may take."""
    return Requester(
        http_client(timeout_seconds=section.request_timeout_seconds),
        exchange=exchange,
        scopes=scopes,
        budget=budget or LocalBudget(ceiling=section.weight_ceiling),
        clock=clock or OffsetClock(),
        retry_base_seconds=section.retry_base_seconds,
        deadline_seconds=settings.orchestration.job_timeout_minutes * _SECONDS_A_MINUTE,
        market=market,
        stop=stop,
    )
