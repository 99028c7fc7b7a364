"""What the table already holds of the ranges that a load touches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake import ledger
from marketlake.errors import UsageError
from marketlake.instants import Window, format_instant
from marketlake.lake.files import files_of, open_table, table_path
from marketlake.lake.reading import MarketRange, scan
from marketlake.lake.schemas import arrow_schema
from marketlake.work import Answer
from spark_jobs.bronze.context import LoadContext
from spark_jobs.bronze.revisions import stored_columns, stored_schema
from spark_jobs.lib.arrow import FEW_ROWS, arrow_frame

_AGREEMENT = (
    "symbol string, timeframe string, source string, range_start timestamp, range_end timestamp, agreed_at timestamp"
)


def market_hulls(answers: Sequence[Answer]) -> dict[tuple[str, str], Window]:
    """Return, per symbol and timeframe, the range from the first to the last of the answers' windows."""
    hulls = dict[tuple[str, str], Window]()
    for answer in answers:
        market = (answer.market.symbol, answer.timeframe)
        known = hulls.get(market, answer.window)
        hulls[market] = Window(min(known.start, answer.window.start), max(known.end, answer.window.end))
    return hulls


def existing_rows(
    context: LoadContext, exchange: str, hulls: dict[tuple[str, str], Window], *, load_id: str
) -> DataFrame | None:
    """Return the table's rows of these ranges but those that this very load committed before a crash; None: no rows.

    Where the table has forgotten the load's id, its commit is made anew, so its rows count like any others.

    The files' statistics tell which of them matter. A few rows are read here; only many are worth a scan by Spark.
    """
    dataset = context.dataset
    try:
        table = open_table(context.root, dataset.table)
    except UsageError:
        return None
    files = files_of(table, dataset.table, ["symbol", dataset.time_column])
    wanted = [
        MarketRange(exchange, symbol, timeframe or None, hull.start, hull.end).bounds(dataset)
        for (symbol, timeframe), hull in hulls.items()
    ]
    held = {file.path: file.rows for bounds in wanted for file in files.holding(bounds)}
    if not held:
        return None
    is_repeat = table.transaction_version(load_id) is not None
    except_load = load_id if is_repeat else ""
    names = stored_columns(dataset)
    found = pl.concat([scan(files, dataset, bounds, [*names, "load_id"]) for bounds in wanted])
    found = found.filter(pl.col("load_id") != except_load)
    if sum(held.values()) > FEW_ROWS:
        # Files that can hold a range often do not: those of a symbol between two others.
        is_empty = found.select("load_id").head(1).collect().is_empty()
        return None if is_empty else _existing_in_spark(context, exchange, hulls, except_load)
    rows = found.select(names).collect().to_arrow()
    if not rows.num_rows:
        return None
    batches = rows.cast(arrow_schema(dataset, names)).to_batches()
    return arrow_frame(context.spark, batches, stored_schema(dataset))


def _existing_in_spark(
    context: LoadContext, exchange: str, hulls: dict[tuple[str, str], Window], except_load: str
) -> DataFrame:
    dataset = context.dataset
    table = context.spark.read.format("delta").load(table_path(context.root, dataset.table))
    inside = " or ".join(_inside(context, symbol, timeframe, hull) for (symbol, timeframe), hull in hulls.items())
    is_wanted = (F.col("exchange") == exchange) & F.expr(inside or "false") & (F.col("load_id") != except_load)
    return table.where(is_wanted).select(*stored_columns(dataset))


def late_agreements(
    context: LoadContext, exchange: str, answers: Sequence[Answer], *, first_received_at: datetime | None
) -> DataFrame | None:
    """Return the agreements that are newer than the load's oldest row, None where there are none: the usual case."""
    if first_received_at is None:
        return None
    rows = set[tuple[str, str, str, datetime, datetime, datetime]]()
    sources = {(answer.market.symbol, answer.timeframe, answer.source) for answer in answers}
    hulls = market_hulls(answers)
    for symbol, timeframe, source in sources:
        known = ledger.agreements_of(
            context.connection, context.dataset.name, exchange, symbol, timeframe, source, hulls[symbol, timeframe]
        )
        rows |= {
            (symbol, timeframe, source, item.window.start, item.window.end, item.agreed_at)
            for item in known
            if item.agreed_at > first_received_at
        }
    if not rows:
        return None
    frame = context.spark.createDataFrame(sorted(rows), _AGREEMENT)
    return frame if context.dataset.has_timeframes else frame.drop("timeframe")


def _inside(context: LoadContext, symbol: str, timeframe: str, hull: Window) -> str:
    dataset = context.dataset
    quoted = symbol.replace("'", "")
    parts = [f"symbol = '{quoted}'"]
    parts += [f"timeframe = '{timeframe}'"] if timeframe else []
    parts.append(f"{dataset.time_column} >= timestamp '{format_instant(hull.start)}'")
    parts.append(f"{dataset.time_column} < timestamp '{format_instant(hull.end)}'")
    if "partition_month" in dataset.partitioned_by:
        parts.append(f"partition_month between '{hull.start:%Y-%m}' and '{hull.end:%Y-%m}'")
    return f"({' and '.join(parts)})"
