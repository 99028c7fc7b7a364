"""Where two sources of one exchange differ, as the loads found it (ING-18)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from marketlake.instants import Window
from marketlake.ledger.loads import Disagreement


@dataclass(frozen=True)
class FoundDisagreement(Disagreement):
    """A disagreement, which load found it, and when."""

    load_id: str
    found_at: datetime


def disagreements_of(
    connection: psycopg.Connection,
    *,
    dataset: str | None = None,
    exchange: str | None = None,
    symbol: str | None = None,
    timeframe: str | None = None,
    window: Window | None = None,
) -> list[FoundDisagreement]:
    """Return the disagreements whose key lies in the window, filtered by what is named, by market and time."""
    with connection.cursor(row_factory=class_row(FoundDisagreement)) as cursor:
        return cursor.execute(
            "select dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value,"
            " chosen_source, load_id, found_at from ops.source_disagreements"
            " where dataset = coalesce(%(dataset)s, dataset) and exchange = coalesce(%(exchange)s, exchange)"
            " and symbol = coalesce(%(symbol)s, symbol) and timeframe = coalesce(%(timeframe)s, timeframe)"
            " and (%(start)s::timestamptz is null or (key_at >= %(start)s and key_at < %(end)s))"
            " order by dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value",
            {
                "dataset": dataset,
                "exchange": exchange,
                "symbol": symbol,
                "timeframe": timeframe,
                "start": window.start if window else None,
                "end": window.end if window else None,
            },
        ).fetchall()
