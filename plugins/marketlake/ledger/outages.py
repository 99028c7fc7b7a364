"""The shipped calendar of outages: when an exchange did not trade, with the evidence (QUA-22)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from marketlake.errors import ConfigError, MarketlakeError
from marketlake.instants import Window, parse_instant
from marketlake.settings import Settings
from marketlake.work import Market

ALL = "*"
_COLUMNS = ("exchange", "market_type", "symbol", "start", "end", "evidence")


@dataclass(frozen=True)
class Outage:
    """A range without trading; `market_type` and `symbol` are `*` where all of them stood still."""

    exchange: str
    market_type: str
    symbol: str
    window: Window
    evidence: str

    def fits(self, exchange: str, market: Market) -> bool:
        """Return whether the outage concerned this market."""
        return (
            self.exchange == exchange
            and self.market_type in (ALL, market.market_type)
            and self.symbol in (ALL, market.symbol)
        )


def outage_calendar(settings: Settings) -> tuple[Outage, ...]:
    """Return the outages that settle holes at once: those that ship with marketlake, or none if switched off.

    Raises:
        ConfigError: the file of `quality.outage_calendar_file` cannot be read; the text names the line.
    """
    if not settings.quality.outage_calendar:
        return ()
    chosen = settings.quality.outage_calendar_file
    if chosen:
        path = Path(chosen)
        try:
            return read_outages(path.read_text(encoding="utf-8").splitlines(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"quality.outage_calendar_file {str(path)!r} cannot be read: {error}") from None
    shipped = resources.files("marketlake.ledger") / "outages.csv"
    return read_outages(shipped.read_text(encoding="utf-8").splitlines(), "outages.csv")


def read_outages(lines: Iterable[str], name: str) -> tuple[Outage, ...]:
    """Return the outages of CSV lines with the columns exchange, market_type, symbol, start, end, evidence.

    Raises:
        ConfigError: a column is missing or an instant unreadable; the text names file and line.
    """
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != _COLUMNS:
        raise ConfigError(f"{name}: the first line must be {','.join(_COLUMNS)}")
    outages = []
    for row in reader:
        try:
            window = Window(parse_instant(row["start"], what="start"), parse_instant(row["end"], what="end"))
        except MarketlakeError as error:
            raise ConfigError(f"{name}, line {reader.line_num}: {error}") from None
        outages.append(Outage(row["exchange"], row["market_type"], row["symbol"], window, row["evidence"]))
    return tuple(outages)
