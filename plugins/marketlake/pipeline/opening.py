"""The first step of a run: its clock, the market behind the exchange, the list of markets, the symbols, the storage."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg

from marketlake.errors import (
    DataError,
    MarketlakeError,
    OtherMarketError,
    UnavailableError,
    UnknownSymbolError,
    UsageError,
    WindowError,
)
from marketlake.instants import Window, format_instant
from marketlake.ledger.budget import SharedBudget
from marketlake.ledger.feed_market import claim_market, lake_market
from marketlake.ledger.instruments import instruments_of, instruments_refreshed_at, store_instruments
from marketlake.ledger.runs import Run, create_run, newest_runs, reopen_run, run_named
from marketlake.pipeline.request import BY_HAND, RunRequest, check_request
from marketlake.planning.request import Chosen, check_exchange, choose_series
from marketlake.planning.window import window_of_run
from marketlake.settings import Exchange, Settings

if TYPE_CHECKING:
    from marketlake.exchanges.clock import ClockReading
    from marketlake.exchanges.protocol import ExchangeClient

_LOG = logging.getLogger(__name__)
INSTRUMENTS_ARE_FRESH_FOR = timedelta(days=1)
# A symbol that a younger list lacks does not exist; an older list is refreshed once before it is said so.
INSTRUMENTS_ARE_NEW_FOR = timedelta(hours=1)
ASK_ADDRESS_SECONDS = 10.0
# A run that is still `running` after this long was killed; opened again, it begins anew.
LONGEST_PASS = timedelta(days=1)


@dataclass(frozen=True)
class Opening:
    """What a run is opened with. An end needs a start; without both each market goes on from its high watermark."""

    request: RunRequest
    start: datetime | None = None
    end: datetime | None = None
    run_id: str | None = None
    kind: str = BY_HAND


def new_run_id(kind: str = BY_HAND) -> str:
    """Return a run id of this instant."""
    return f"{kind}__{datetime.now(UTC):%Y%m%dT%H%M%S}_{secrets.token_hex(3)}"


def open_run(settings: Settings, connection: psycopg.Connection, opening: Opening) -> Run:
    """Make the run and return it; a repeat with the same id returns the first one while that goes on.

    A run that has ended, or that began more than a day ago, begins anew: what it was asked stays, its now and its
    clock are today's. So a run that is cleared or reprocessed a week later sees the holes that are due by then.

    Raises:
        UsageError: the request cannot be: unknown names, a window off its rules, a lake of another market.
        UnavailableError: the storage, or an exchange of which nothing is known yet, does not answer.
    """
    known = None if opening.run_id is None else known_run(connection, opening.run_id)
    if known is not None:
        return _go_on(settings, connection, known)
    if opening.end is not None:
        _window(opening, None)
    has_window = opening.start is not None
    request = check_request(opening.request, settings, has_window=has_window)
    for exchange in request.exchanges:
        check_exchange(exchange, settings)
    run_id = opening.run_id or new_run_id(opening.kind)
    at = datetime.now(UTC)
    draft = Run(run_id, opening.kind, None, request.mode, request.to_json(), at, timedelta(0))
    is_missed = _misses_a_symbol(settings, connection, draft, request)
    check_storage(settings)
    now, offset = _meet_exchanges(settings, connection, request, refresh=is_missed)
    run = replace(draft, window=_window(opening, now), now=now, clock_offset=offset)
    check_symbols(settings, connection, run, request)
    return create_run(connection, run)


def _go_on(settings: Settings, connection: psycopg.Connection, known: Run) -> Run:
    """Return a known run as it is, or begun anew where it has ended or is old."""
    # Only a run's first step comes here, and its plan follows: so within one pass, retries included, now stays fixed.
    if known.state == "running" and datetime.now(UTC) + known.clock_offset - known.now < LONGEST_PASS:
        return known
    check_storage(settings)
    now, offset = _meet_exchanges(settings, connection, RunRequest.from_json(known.request))
    return reopen_run(connection, known.run_id, now=now, clock_offset=offset)


def _meet_exchanges(
    settings: Settings, connection: psycopg.Connection, request: RunRequest, *, refresh: bool = False
) -> tuple[datetime, timedelta]:
    """Meet every exchange of the run; return the run's now and clock offset, by the first's, whose clock it may follow.

    What is closed is told by the exchange's clock (ING-06): a machine that is ahead must not ask for open candles.
    """
    meetings = [_meet_exchange(settings, connection, exchange, refresh=refresh) for exchange in request.exchanges]
    first = meetings[0]
    return datetime.now(UTC) + min(first.offset, first.exchange_ahead), first.offset


def check_symbols(settings: Settings, connection: psycopg.Connection, run: Run, request: RunRequest) -> None:
    """Make sure that every symbol names one listed market, before any data is asked for (GEN-04).

    Raises:
        UnknownSymbolError: one does not; the text lists the candidates.
    """
    for note in _choose(settings, connection, run, request).notes:
        _LOG.info("%s", note)


def _choose(settings: Settings, connection: psycopg.Connection, run: Run, request: RunRequest) -> Chosen:
    return choose_series(
        connection,
        run,
        settings=settings,
        datasets=request.datasets,
        exchanges=request.exchanges,
        symbols=request.symbols or None,
        timeframes=request.timeframes or None,
    )


def _misses_a_symbol(settings: Settings, connection: psycopg.Connection, draft: Run, request: RunRequest) -> bool:
    """Whether the ledger's lists of markets lack a symbol and are old enough that it may have been listed since.

    Raises:
        UnknownSymbolError: a list taken over just now lacks it, so that nobody need be called to know (GEN-04).
    """
    offset = _offset_of_newest_run(settings, connection)
    now = draft.now + offset
    if not all(instruments_of(connection, exchange, now) for exchange in request.exchanges):
        return False
    try:
        _choose(settings, connection, replace(draft, now=now), request)
    except UnknownSymbolError as error:
        ages = [instruments_refreshed_at(connection, exchange) for exchange in request.exchanges]
        if not error.is_unlisted or not any(_is_stale(age, now, INSTRUMENTS_ARE_NEW_FOR) for age in ages):
            raise
        return True
    return False


def known_run(connection: psycopg.Connection, run_id: str) -> Run | None:
    """Return the run of this id, or None."""
    try:
        return run_named(connection, run_id)
    except UsageError:
        return None


def check_storage(settings: Settings) -> None:
    """Make sure that the lake's root can be written (LAKE-02).

    Raises:
        UnavailableError: it cannot; the text names it.
    """
    root = settings.lake_root
    if "://" in root:
        raise UsageError(f"delta_lake.storage_path must be a folder in this version; was {root!r}")
    probe = Path(root) / "landing" / f".writable_{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UnavailableError(
            f"the lake's root {root} cannot be written: {error.strerror or error}; check delta_lake.storage_path and"
            " MARKETLAKE_HOME, who owns the folder, and the free space"
        ) from None


@dataclass(frozen=True)
class _Meeting:
    """What a run adds to the machine's clock, and how far the exchange's clock is ahead of the machine's."""

    offset: timedelta
    exchange_ahead: timedelta


def _meet_exchange(
    settings: Settings, connection: psycopg.Connection, exchange: str, *, refresh: bool = False
) -> _Meeting:
    """Read the exchange's clock and identity and refresh its list of markets if it is a day old or `refresh` says so.

    Where the exchange does not answer, or not as an exchange, go on with what the ledger knows of it.
    """
    from marketlake.exchanges.clock import run_offset

    try:
        reading = _read_clock(settings, connection, exchange)
    except (UnavailableError, DataError) as error:
        return _meeting_from_memory(settings, connection, exchange, error)
    offset = run_offset(reading, settings.clock)
    _check_addresses(settings.exchanges[exchange], exchange, reading.market)
    claim_market(connection, reading.market)
    now = datetime.now(UTC) + offset
    if refresh or _is_stale(instruments_refreshed_at(connection, exchange), now, INSTRUMENTS_ARE_FRESH_FOR):
        _refresh_instruments(settings, connection, exchange, now)
    return _Meeting(offset, -reading.deviation)


def _read_clock(settings: Settings, connection: psycopg.Connection, exchange: str) -> ClockReading:
    from marketlake.exchanges.clock import measure_clock

    with _client(settings, connection, exchange) as client:
        return measure_clock(client)


def _refresh_instruments(settings: Settings, connection: psycopg.Connection, exchange: str, now: datetime) -> None:
    try:
        with _client(settings, connection, exchange, market=lake_market(connection)) as client:
            store_instruments(connection, exchange, client.instruments(), now)
    except (UnavailableError, DataError) as error:
        if not instruments_of(connection, exchange, now):
            raise
        _LOG.warning("the list of %s's markets stays as it is: %s", exchange, error)


@contextmanager
def _client(
    settings: Settings, connection: psycopg.Connection, exchange: str, *, market: str | None = None
) -> Iterator[ExchangeClient]:
    from marketlake.exchanges.connections import open_client

    budget = SharedBudget(connection, exchange, ceiling=settings.exchanges[exchange].weight_ceiling)
    client = open_client(settings, exchange, budget=budget, market=market)
    try:
        yield client
    finally:
        client.close()


def _check_addresses(section: Exchange, exchange: str, market: str) -> None:
    """Refuse a made-up market whose other addresses are not its own: real rows would get in between.

    Whoever feeds the lake, each answer is checked again when it comes; this tells of the mistake before anything is
    fetched. An address that does not answer gives no rows: what needs it fails, the rest goes on.

    Raises:
        OtherMarketError: an address is another market's.
    """
    from marketlake.exchanges.connections import market_behind
    from marketlake.exchanges.http import LIVE

    if market == LIVE:
        return
    rest = urlsplit(section.rest_url).netloc
    for key in ("futures_rest_url", "archive_url"):
        address = getattr(section, key)
        if not address or urlsplit(address).netloc == rest:
            continue
        found = market_behind(address, timeout_seconds=min(section.request_timeout_seconds, ASK_ADDRESS_SECONDS))
        if found not in (market, None):
            raise OtherMarketError(
                f"exchanges.{exchange}.rest_url is the market {market!r}, but {key} is {address}, the market "
                f"{found!r}; set all addresses of exchanges.{exchange} to one market"
            )


def _meeting_from_memory(
    settings: Settings, connection: psycopg.Connection, exchange: str, error: MarketlakeError
) -> _Meeting:
    offset = _offset_of_newest_run(settings, connection)
    if lake_market(connection) is None or not instruments_of(connection, exchange, datetime.now(UTC) + offset):
        raise error
    _LOG.warning("%s does not answer (%s); going on with what is known of it, fetches will fail", exchange, error)
    return _Meeting(offset, offset)


def _offset_of_newest_run(settings: Settings, connection: psycopg.Connection) -> timedelta:
    runs = newest_runs(connection, limit=1)
    return runs[0].clock_offset if runs and settings.clock.source == "exchange" else timedelta(0)


def _is_stale(refreshed_at: datetime | None, now: datetime, fresh_for: timedelta) -> bool:
    return refreshed_at is None or not timedelta(0) <= now - refreshed_at < fresh_for


def _window(opening: Opening, now: datetime | None) -> Window | None:
    if opening.start is None and opening.end is None:
        return None
    window = window_of_run(start=opening.start, end=opening.end, now=now)
    if now is not None and window is not None and window.start >= now:
        raise WindowError(
            f"start must be before now, nothing exists yet; start was {format_instant(window.start)}, now is"
            f" {format_instant(now)} by the run's clock"
        )
    return window
