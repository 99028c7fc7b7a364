"""The first step of a run: its clock, the market behind the exchange, the list of markets, the symbols, the storage."""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from marketlake.errors import UnavailableError, UsageError
from marketlake.instants import Window
from marketlake.ledger.budget import SharedBudget
from marketlake.ledger.feed_market import claim_market, lake_market
from marketlake.ledger.instruments import instruments_of, instruments_refreshed_at, store_instruments
from marketlake.ledger.runs import Run, create_run, newest_runs, run_named
from marketlake.pipeline.request import BY_HAND, RunRequest, check_request
from marketlake.planning.request import check_exchange, choose_series
from marketlake.planning.window import window_of_run
from marketlake.settings import Settings

_LOG = logging.getLogger(__name__)
INSTRUMENTS_ARE_FRESH_FOR = timedelta(days=1)


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
    """Make the run and return it; a repeat with the same id returns the first one.

    Raises:
        UsageError: the request cannot be: unknown names, a window off its rules, a lake of another market.
        UnavailableError: the storage, or an exchange of which nothing is known yet, does not answer.
    """
    known = None if opening.run_id is None else known_run(connection, opening.run_id)
    if known is not None:
        return known
    if opening.end is not None:
        _window(opening, None)
    has_window = opening.start is not None
    request = check_request(opening.request, settings, has_window=has_window)
    for exchange in request.exchanges:
        check_exchange(exchange, settings)
    check_storage(settings)
    offsets = [_meet_exchange(settings, connection, exchange) for exchange in request.exchanges]
    # The first exchange is the one whose clock a run may follow.
    offset = offsets[0]
    now = datetime.now(UTC) + offset
    run_id = opening.run_id or new_run_id(opening.kind)
    run = Run(run_id, opening.kind, _window(opening, now), request.mode, request.to_json(), now, offset)
    check_symbols(settings, connection, run, request)
    return create_run(connection, run)


def check_symbols(settings: Settings, connection: psycopg.Connection, run: Run, request: RunRequest) -> None:
    """Make sure that every symbol names one listed market, before any data is asked for (GEN-04).

    Raises:
        UnknownSymbolError: one does not; the text lists the candidates.
    """
    chosen = choose_series(
        connection,
        run,
        settings=settings,
        datasets=request.datasets,
        exchanges=request.exchanges,
        symbols=request.symbols or None,
        timeframes=request.timeframes or None,
    )
    for note in chosen.notes:
        _LOG.info("%s", note)


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


def _meet_exchange(settings: Settings, connection: psycopg.Connection, exchange: str) -> timedelta:
    """Read the exchange's clock and identity, refresh its list of markets, and return the run's clock offset.

    Where the exchange does not answer, go on with what the ledger knows of it.
    """
    from marketlake.exchanges.clock import measure_clock, run_offset
    from marketlake.exchanges.connections import open_client

    budget = SharedBudget(connection, exchange, ceiling=settings.exchanges[exchange].weight_ceiling)
    client = open_client(settings, exchange, budget=budget)
    try:
        reading = measure_clock(client)
        offset = run_offset(reading, settings.clock)
        claim_market(connection, reading.market)
        now = datetime.now(UTC) + offset
        if _is_stale(instruments_refreshed_at(connection, exchange), now):
            store_instruments(connection, exchange, client.instruments(), now)
        return offset
    except UnavailableError as error:
        return _offset_from_memory(settings, connection, exchange, error)
    finally:
        client.close()


def _offset_from_memory(
    settings: Settings, connection: psycopg.Connection, exchange: str, error: UnavailableError
) -> timedelta:
    runs = newest_runs(connection, limit=1)
    offset = runs[0].clock_offset if runs and settings.clock.source == "exchange" else timedelta(0)
    if lake_market(connection) is None or not instruments_of(connection, exchange, datetime.now(UTC) + offset):
        raise error
    _LOG.warning("%s does not answer (%s); going on with what is known of it, fetches will fail", exchange, error)
    return offset


def _is_stale(refreshed_at: datetime | None, now: datetime) -> bool:
    return refreshed_at is None or not timedelta(0) <= now - refreshed_at < INSTRUMENTS_ARE_FRESH_FOR


def _window(opening: Opening, now: datetime | None) -> Window | None:
    if opening.start is None and opening.end is None:
        return None
    return window_of_run(start=opening.start, end=opening.end, now=now)
