"""Which markets, and which part of their time, a report is asked for: one filter for SQL, lists and commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketlake.instants import Window


@dataclass(frozen=True)
class MarketFilter:
    """Which markets to report, and which window; None means all."""

    dataset: str | None = None
    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None
    window: Window | None = None

    def named(self) -> dict[str, str]:
        """Return what is named of a market, by column."""
        columns = {
            "dataset": self.dataset, "exchange": self.exchange, "symbol": self.symbol, "timeframe": self.timeframe,
        }  # fmt: skip
        return {column: value for column, value in columns.items() if value is not None}

    def fits(self, market: tuple[str, str, str, str]) -> bool:
        """Whether the market (dataset, exchange, symbol, timeframe) is wanted."""
        wanted = (self.dataset, self.exchange, self.symbol, self.timeframe)
        return all(want is None or want == have for want, have in zip(wanted, market, strict=True))

    def sql(self, *, start: str, end: str | None = None) -> tuple[str, dict[str, Any]]:
        """Return a condition and its parameters: rows of these markets, within the window.

        `start` and `end` are the columns of a range that has to overlap it; without `end`, the column of an instant
        that has to lie in it.
        """
        parameters: dict[str, Any] = dict(self.named())
        tests = [f"{column} = %({column})s" for column in parameters]
        if self.window is not None:
            tests.append(f"{start} < %(end)s and {f'{end} >' if end else f'{start} >='} %(start)s")
            parameters |= {"start": self.window.start, "end": self.window.end}
        return " and ".join(tests) or "true", parameters
