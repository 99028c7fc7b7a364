"""Where Binance keeps its archives: `data/<kind>/<monthly|daily>/<klines|fundingRate|aggTrades>/<SYMBOL>/…`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from marketlake.errors import DataError, UnknownNameError, one_of
from marketlake.instants import Window
from marketlake.work import Market

MONTHLY, DAILY = "monthly", "daily"
_FOLDERS = {"ohlcv": "klines", "funding_rates": "fundingRate", "trades": "aggTrades"}
_PERIODS = {"ohlcv": (MONTHLY, DAILY), "funding_rates": (MONTHLY,), "trades": (MONTHLY, DAILY)}
_PERIOD_OF_NAME = re.compile(r"-(\d{4})-(\d{2})(?:-(\d{2}))?\.zip")


def periods(dataset: str) -> tuple[str, ...]:
    """Return the lengths of the dataset's archives, longest first; funding rates come by month only."""
    return _PERIODS.get(dataset, ())


def path(dataset: str, market: Market, *, timeframe: str, period: str, start: datetime) -> str:
    """Return the archive's path below the archive URL; `start` is any instant inside its period.

    Raises:
        UnknownNameError: the dataset has no archives, or none of this period.
    """
    if dataset not in _FOLDERS:
        raise UnknownNameError(one_of("a dataset with archives", dataset, _FOLDERS))
    if period not in _PERIODS[dataset]:
        raise UnknownNameError(one_of(f"the period of {dataset} archives", period, _PERIODS[dataset]))
    date = start.astimezone(UTC).strftime("%Y-%m" if period == MONTHLY else "%Y-%m-%d")
    symbol, folder = market.exchange_symbol, _FOLDERS[dataset]
    if dataset == "ohlcv":
        return f"data/{_kind(market)}/{period}/{folder}/{symbol}/{timeframe}/{symbol}-{timeframe}-{date}.zip"
    return f"data/{_kind(market)}/{period}/{folder}/{symbol}/{symbol}-{folder}-{date}.zip"


def window(path: str) -> Window:
    """Return the UTC month or day that an archive's name states.

    Raises:
        DataError: the name ends in no month or day.
    """
    match = _PERIOD_OF_NAME.search(PurePosixPath(path).name)
    try:
        if match is None:
            raise ValueError
        year, month, day = int(match[1]), int(match[2]), int(match[3] or 1)
        start = datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        raise DataError(f"the archive's name must end in -YYYY-MM.zip or -YYYY-MM-DD.zip; was {path!r}") from None
    if match[3]:
        return Window(start, start + timedelta(days=1))
    return Window(start, (start + timedelta(days=31)).replace(day=1))


def _kind(market: Market) -> str:
    if market.market_type == "spot":
        return "spot"
    base, _, settle = market.symbol.partition(":")
    return "futures/cm" if settle.split("-")[0] == base.split("/")[0] else "futures/um"
