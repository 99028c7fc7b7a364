"""Arguments that several commands share: which markets, which window."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from marketlake.errors import UnknownExchangeError, WindowError, one_of
from marketlake.instants import Window, parse_window
from marketlake.settings import Settings, load_settings
from marketlake.timeframes import check_timeframe

if TYPE_CHECKING:
    import psycopg

    from marketlake.ledger import MarketFilter


def add_market_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that choose markets and a window for a report."""
    parser.add_argument("--dataset", help="ohlcv, funding_rates or trades (default: all)")
    parser.add_argument("--exchange", help="such as binance (default: all)")
    parser.add_argument("--symbol", help="BTC/USDT, BTC/USDT:USDT, BTCUSDT, BTC-USDT-PERP (default: all)")
    parser.add_argument("--timeframe", help="1m, 5m, 15m, 1h, 4h or 1d (default: all)")
    parser.add_argument("--start", help="first instant, such as 2025-01-31 or 2025-01-31T06:00:00Z")
    parser.add_argument("--end", help="first instant after the range")


def window_of(arguments: argparse.Namespace) -> Window | None:
    """Return the window of --start and --end, None where neither is given.

    Raises:
        WindowError: one is missing, unreadable, or start is not before end.
    """
    if arguments.start is None and arguments.end is None:
        return None
    if arguments.start is None or arguments.end is None:
        raise WindowError("name both --start and --end, or neither")
    return parse_window(arguments.start, arguments.end)


@contextmanager
def open_ledger(arguments: argparse.Namespace) -> Iterator[tuple[Settings, psycopg.Connection, MarketFilter]]:
    """Yield settings, ledger and the filter of a report, its names checked against registry, settings and ledger.

    Raises:
        WindowError: as `window_of`, before the ledger is asked.
        UnknownNameError: a name is unknown; the text names the valid ones.
    """
    from marketlake.ledger import connect

    settings, window = load_settings(), window_of(arguments)
    with connect(settings) as connection:
        yield settings, connection, _filter(arguments, window, settings, connection)


def _filter(
    arguments: argparse.Namespace, window: Window | None, settings: Settings, connection: psycopg.Connection
) -> MarketFilter:
    from marketlake.datasets import dataset_named
    from marketlake.ledger import MarketFilter

    if arguments.dataset is not None:
        dataset_named(arguments.dataset)
    if arguments.timeframe is not None:
        check_timeframe(arguments.timeframe)
    if arguments.exchange is not None and arguments.exchange not in settings.exchanges:
        raise UnknownExchangeError(one_of("exchange", arguments.exchange, settings.exchanges))
    symbol = None if arguments.symbol is None else _symbol(arguments, settings, connection)
    return MarketFilter(arguments.dataset, arguments.exchange, symbol, arguments.timeframe, window)


def _symbol(arguments: argparse.Namespace, settings: Settings, connection: psycopg.Connection) -> str:
    from datetime import UTC, datetime

    from marketlake.datasets import DATASETS
    from marketlake.errors import UnknownSymbolError
    from marketlake.ledger import instruments_of, markets_covered, resolve_symbol

    held = {market[2] for market in markets_covered(connection)}
    if arguments.symbol in held:
        return str(arguments.symbol)
    far = datetime.max.replace(tzinfo=UTC)
    exchanges = [arguments.exchange] if arguments.exchange else list(settings.exchanges)
    listed = [item for exchange in exchanges for item in instruments_of(connection, exchange, far)]
    if not listed:
        raise UnknownSymbolError(
            f"symbol {arguments.symbol!r} is unknown: the list of markets of {', '.join(exchanges)} was never read;"
            " load something with `marketlake run`"
        )
    failure: UnknownSymbolError | None = None
    for name in [arguments.dataset] if arguments.dataset else list(DATASETS):
        try:
            return resolve_symbol(arguments.symbol, listed, DATASETS[name], settings.symbol_aliases).symbol
        except UnknownSymbolError as error:
            failure = failure or error
    assert failure is not None
    raise failure
