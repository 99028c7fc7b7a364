"""The log of quality events (QUA-29): rows of `ops.data_quality_logs` that people count by type."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from marketlake.instants import Window


def log_quality_event(
    connection: psycopg.Connection,
    event_type: str,
    *,
    exchange: str,
    symbol: str,
    timeframe: str = "",
    gap: Window | None = None,
    candles_missing: int | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Append one event, such as `validation_failed` or `db_error`; gaps are logged by the coverage itself."""
    connection.execute(
        "insert into ops.data_quality_logs"
        " (event_type, exchange, symbol, timeframe, gap_start, gap_end, candles_missing, details)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            event_type,
            exchange,
            symbol,
            timeframe,
            gap.start if gap else None,
            gap.end if gap else None,
            candles_missing,
            Jsonb(details or {}),
        ],
    )


def count_events(connection: psycopg.Connection, *, hours: float = 24.0) -> dict[str, tuple[int, float | None]]:
    """Return, by event type, the number of events of the last hours and the mean of `candles_missing`."""
    rows = connection.execute(
        "select event_type, count(*), avg(candles_missing)::double precision from ops.data_quality_logs"
        " where created_at > clock_timestamp() - make_interval(secs => %s) group by event_type order by event_type",
        [hours * 3600],
    ).fetchall()
    return {event: (count, mean) for event, count, mean in rows}
