"""From the names that a run was given to the series it works on; every wrong name stops it before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from marketlake.datasets import DATASETS, Dataset, dataset_named
from marketlake.errors import UnknownSymbolError, UsageError, one_of
from marketlake.exchanges.registry import exchange_named
from marketlake.ledger import Run, known_instruments, resolve_symbol
from marketlake.planning.wanted import Series
from marketlake.settings import Settings
from marketlake.timeframes import check_timeframe
from marketlake.work import Instrument


@dataclass(frozen=True)
class Chosen:
    """The series of a run, in a stable order, and remarks on names that fitted only some datasets."""

    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()


def choose_series(
    connection: psycopg.Connection,
    run: Run,
    *,
    settings: Settings,
    datasets: Sequence[str],
    exchanges: Sequence[str] | None,
    symbols: Sequence[str] | None,
    timeframes: Sequence[str] | None,
) -> Chosen:
    """Return the series that the names mean; what is not named comes from the settings.

    A symbol that is given for several datasets has to fit at least one of them.

    Raises:
        UsageError: an unknown dataset, exchange, timeframe or symbol, or one that the exchange does not offer.
    """
    if not datasets:
        raise UsageError(one_of("dataset", None, DATASETS))
    kinds = [dataset_named(name) for name in dict.fromkeys(datasets)]
    for timeframe in timeframes or ():
        check_timeframe(timeframe)
    series, notes = list[Series](), list[str]()
    for exchange in dict.fromkeys(exchanges or [name for name, item in settings.exchanges.items() if item.enabled]):
        check_exchange(exchange, settings)
        listed = known_instruments(connection, exchange, run.now)
        if not listed:
            raise UsageError(f"the ledger holds no markets of {exchange} yet; the step open_run takes over its list")
        found, remarks = _series_of(exchange, listed, kinds, settings, symbols, timeframes)
        series += found
        notes += remarks
    return Chosen(tuple(series), tuple(notes))


def check_exchange(exchange: str, settings: Settings) -> None:
    """Do nothing for an exchange that is known, configured and switched on.

    Raises:
        UsageError: it is not.
    """
    exchange_named(exchange)
    configured = settings.exchanges.get(exchange)
    if configured is None:
        raise UsageError(f"exchange {exchange!r} has no section in the settings; add exchanges.{exchange}")
    if not configured.enabled:
        raise UsageError(f"exchange {exchange!r} is switched off; set exchanges.{exchange}.enabled to true")


def _series_of(
    exchange: str,
    listed: Sequence[Instrument],
    datasets: Sequence[Dataset],
    settings: Settings,
    symbols: Sequence[str] | None,
    timeframes: Sequence[str] | None,
) -> tuple[list[Series], list[str]]:
    configured = settings.exchanges[exchange]
    misfits: dict[str, list[UnknownSymbolError]] = {}
    series = list[Series]()
    for dataset in datasets:
        if dataset.name not in exchange_named(exchange).capabilities.sources:
            raise UsageError(f"exchange {exchange!r} does not offer {dataset.name}")
        lengths = tuple(timeframes or configured.timeframes) if dataset.grain == "candle" else ("",)
        names = symbols if symbols else getattr(configured.symbols, dataset.name, ())
        for name in dict.fromkeys(names):
            try:
                instrument = resolve_symbol(name, listed, dataset, settings.symbol_aliases)
            except UnknownSymbolError as error:
                misfits.setdefault(name, []).append(error)
                continue
            series += [Series(dataset, exchange, instrument, length) for length in dict.fromkeys(lengths)]
    for errors in misfits.values():
        if not symbols or len(errors) == len(datasets):
            raise errors[0]
    unique = {item.market: item for item in series}
    return list(unique.values()), [str(error) for errors in misfits.values() for error in errors]
