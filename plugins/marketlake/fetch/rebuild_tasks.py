"""Rebuild tasks → landed candles: what no archive and no REST answer holds is made from the market's own trades."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from marketlake.datasets import TRADES
from marketlake.errors import UsageError
from marketlake.fetch.answers import rebuilt_answer, window_meta
from marketlake.instants import Clock, format_instant
from marketlake.lake.files import files_of, open_table
from marketlake.lake.reading import MarketRange, read_range
from marketlake.lake.trade_candles import TRADE_SCHEMA, candles_from_trades
from marketlake.landing import LandingArea, Segment
from marketlake.landing.rebuilt import rebuilt_line
from marketlake.work import Answer, FetchTask

_COLUMNS = (*TRADE_SCHEMA.names, "trade_id", "received_at")


@dataclass(frozen=True)
class TradeSource:
    """Where trades are read and candles land; `clock` is the run's."""

    lake_root: str
    area: LandingArea
    clock: Clock
    run_id: str
    attempt: int


def rebuild(
    source: TradeSource, tasks: Sequence[FetchTask], *, landed: Callable[[FetchTask, list[Answer]], None]
) -> None:
    """Rebuild the tasks' candles from current trades; a minute without a trade has no row, and that is the answer."""
    for task in tasks:
        landed(task, [_rebuilt(source, task)])


def _rebuilt(source: TradeSource, task: FetchTask) -> Answer:
    candles = _candles(source, task)
    received_at = max((candle["received_at"] for candle in candles), default=source.clock.now())
    names = {"run_id": source.run_id, "task_id": task.task_id}
    path = source.area.segment_path(task.exchange, task.dataset, **names, attempt=source.attempt)
    source_ref = f"{TRADES.table}/{task.market.symbol}"
    with Segment(source.area, path) as segment:
        for candle in candles:
            segment.append(rebuilt_line(candle))
        stored = segment.finish(
            {
                "url": source_ref,
                "source_ref": source_ref,
                "received_at": format_instant(received_at),
                "window": window_meta(task.window),
                "run_id": source.run_id,
                "task_id": task.task_id,
            }
        )
    return rebuilt_answer(task, stored)


def _candles(source: TradeSource, task: FetchTask) -> list[dict[str, Any]]:
    trades = _trades(source, task)
    candles = candles_from_trades(trades, task.timeframe)
    times = pl.DataFrame(trades.select(["event_time", "received_at"]))
    # A candle is as old an observation as the newest of its trades.
    opens = candles["open_time"].to_pylist()
    newest = _newest_by_slot(times, opens)
    return [candle | {"received_at": at} for candle, at in zip(candles.to_pylist(), newest, strict=True)]


def _newest_by_slot(times: pl.DataFrame, opens: list[datetime]) -> list[datetime]:
    if not opens:
        return []
    slots = pl.DataFrame({"open_time": opens}, schema={"open_time": pl.Datetime("us", "UTC")})
    placed = times.sort("event_time").join_asof(slots, left_on="event_time", right_on="open_time")
    newest = placed.group_by("open_time").agg(pl.col("received_at").max())
    return slots.join(newest, on="open_time", how="left", maintain_order="left")["received_at"].to_list()


def _trades(source: TradeSource, task: FetchTask) -> pa.Table:
    try:
        files = files_of(open_table(source.lake_root, TRADES.table), TRADES.table, ["symbol", TRADES.time_column])
    except UsageError:
        raise UsageError(f"{TRADES.table} is gone, but {task.task_id} rebuilds candles from it; plan again") from None
    wanted = MarketRange(task.exchange, task.market.symbol, None, task.window.start, task.window.end)
    return in_order(pl.DataFrame(read_range(files, TRADES, wanted, _COLUMNS))).to_arrow()


def in_order(trades: pl.DataFrame) -> pl.DataFrame:
    """Return one market's trades in the order of the exchange's ids, which count up; by instant where one is no number.

    Instants alone would misplace what archives give to the microsecond and REST answers to the millisecond.
    """
    number = pl.col("trade_id").cast(pl.Int64, strict=False)
    is_numbered = trades.select(number.is_not_null().all()).item()
    return trades.sort(number) if is_numbered else trades.sort("event_time", "trade_id")
