"""`bronze.market_day_quality`: what a market had, should have had and had rejected, by UTC day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import psycopg
import pyarrow.compute as pc
from psycopg import sql

from marketlake.datasets import Dataset
from marketlake.instants import DAY, Window, ceil_instant, floor_instant
from marketlake.lake.files import open_table, table_names
from marketlake.publish.bronze_tables import table_name
from marketlake.publish.current_rows import Series
from marketlake.timeframes import grid_count, timeframe_length

Days = dict[date, tuple[int | None, int, int]]


def update_days(
    cursor: psycopg.Cursor[Any],
    dataset: Dataset,
    *,
    series: Series,
    window: Window,
    counted: Mapping[date, int],
    root: str,
    now: datetime,
) -> int:
    """Bring the days that the window touches up to date; return how many rows of the table changed.

    `counted` are the window's rows by UTC day, which need no second count where it has whole days.
    """
    whole = Window(floor_instant(window.start, DAY), ceil_instant(window.end, DAY))
    present = Counter(counted) if whole == window else _present(cursor, dataset, series, whole)
    rejected = _rejected(dataset, series, whole, root)
    life = _life(cursor, series, now)
    days = Days()
    at = whole.start
    while at < whole.end:
        day = Window(at, at + DAY)
        expected = _expected(day, life, series.timeframe, now) if dataset.has_timeframes else None
        counts = (expected, present[at.date()], rejected[at.date()])
        if any(counts):
            days[at.date()] = counts
        at = day.end
    return _write(cursor, series, whole, days)


def _present(cursor: psycopg.Cursor[Any], dataset: Dataset, series: Series, whole: Window) -> Counter[date]:
    timeframe = sql.SQL(" and timeframe = %(timeframe)s" if dataset.has_timeframes else "")
    query = sql.SQL(
        "select partition_date, count(*) from {} where exchange = %(exchange)s and symbol = %(symbol)s{}"
        " and {time} >= %(start)s and {time} < %(end)s group by partition_date"
    ).format(table_name(dataset), timeframe, time=sql.Identifier(dataset.time_column))
    parameters = {
        "exchange": series.exchange,
        "symbol": series.symbol,
        "timeframe": series.timeframe,
        "start": whole.start,
        "end": whole.end,
    }
    return Counter({day: int(count) for day, count in cursor.execute(query, parameters).fetchall()})


def _rejected(dataset: Dataset, series: Series, whole: Window, root: str) -> Counter[date]:
    if dataset.dlq_table not in table_names(root):
        return Counter()
    time_column = pc.field(dataset.time_column)
    condition = (pc.field("exchange") == series.exchange) & (pc.field("symbol") == series.symbol)
    condition = condition & (time_column >= whole.start) & (time_column < whole.end)
    if dataset.has_timeframes:
        condition = condition & (pc.field("timeframe") == series.timeframe)
    letters = open_table(root, dataset.dlq_table).to_pyarrow_dataset()
    columns = ["reject_id", "raw_payload", dataset.time_column]
    rows = letters.to_table(columns=columns, filter=condition).to_pylist()
    # Two pages that overlap bring a row twice, under two names of where it came from; it is one row that is missing.
    told = {(row[dataset.time_column], row["raw_payload"] or row["reject_id"]) for row in rows}
    return Counter(at.astimezone(UTC).date() for at, _ in told)


def _life(cursor: psycopg.Cursor[Any], series: Series, now: datetime) -> Window | None:
    """Return from the market's listing to its end or to the run's now; None where it has not begun."""
    row = cursor.execute(
        "select listed_at, delisted_at from ops.instruments where exchange = %s and symbol = %s and valid_to is null",
        [series.exchange, series.symbol],
    ).fetchone()
    listed, delisted = row or (None, None)
    start = listed or datetime.combine(date(2009, 1, 3), time(), UTC)
    end = min(delisted or now, now)
    return Window(start, end) if start < end else None


def _expected(day: Window, life: Window | None, timeframe: str, now: datetime) -> int:
    inside = day.overlap(life) if life else None
    if inside is None:
        return 0
    # The candle that is still open is not expected, one that its market did not live through wholly is.
    length = timeframe_length(timeframe)
    end = min(ceil_instant(inside.end, length), floor_instant(now, length))
    start = floor_instant(inside.start, length)
    return grid_count(Window(start, end), timeframe) if start < end else 0


def _write(cursor: psycopg.Cursor[Any], series: Series, whole: Window, days: Days) -> int:
    market = [series.dataset, series.exchange, series.symbol, series.timeframe]
    cursor.execute(
        "delete from bronze.market_day_quality where dataset = %s and exchange = %s and symbol = %s"
        " and timeframe = %s and day >= %s and day < %s and not day = any(%s)",
        [*market, whole.start.date(), whole.end.date(), list(days)],
    )
    deleted = cursor.rowcount
    columns = list(zip(*days.values(), strict=True)) or [(), (), ()]
    cursor.execute(
        "insert into bronze.market_day_quality as held"
        " (dataset, exchange, symbol, timeframe, day, expected, present, rejected)"
        " select %s, %s, %s, %s, * from unnest(%s::date[], %s::bigint[], %s::bigint[], %s::bigint[])"
        " on conflict (dataset, symbol, timeframe, day, exchange) do update set expected = excluded.expected,"
        " present = excluded.present, rejected = excluded.rejected, updated_at = clock_timestamp()"
        " where (held.expected, held.present, held.rejected)"
        " is distinct from (excluded.expected, excluded.present, excluded.rejected)",
        [*market, list(days), *(list(column) for column in columns)],
    )
    return deleted + cursor.rowcount
