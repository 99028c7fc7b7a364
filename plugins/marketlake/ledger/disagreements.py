"""Where two sources of one exchange differ, as the loads found it (ING-18)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from marketlake.ledger.loads import Disagreement
from marketlake.ledger.market_filter import MarketFilter


@dataclass(frozen=True)
class FoundDisagreement(Disagreement):
    """A disagreement, which load found it, and when."""

    load_id: str
    found_at: datetime


def disagreements_of(connection: psycopg.Connection, wanted: MarketFilter | None = None) -> list[FoundDisagreement]:
    """Return the disagreements of the wanted markets whose key lies in the window, by market and time."""
    where, parameters = (wanted or MarketFilter()).sql(start="key_at")
    with connection.cursor(row_factory=class_row(FoundDisagreement)) as cursor:
        return cursor.execute(
            "select dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value,"
            f" chosen_source, load_id, found_at from ops.source_disagreements where {where}"
            " order by dataset, exchange, symbol, timeframe, key_at, field, source, value, other_source, other_value",
            parameters,
        ).fetchall()
