"""What a run came to, for people and programs: rows per layer, markets, rejected rows, newest indicators, seconds."""

from __future__ import annotations

from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from marketlake.ledger import MarketFilter, lake_market, steps_of
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.damaged import damage_document, damages
from marketlake.pipeline.fetching import chosen_series
from marketlake.pipeline.loading import verdicts_of_run
from marketlake.quality.coverage_report import MarketCoverage, coverage_report

_COUNTED = (
    ("Postgres bronze", "bronze", "ohlcv"),
    ("Postgres bronze", "bronze", "funding_rates"),
    ("Postgres bronze", "bronze", "trades"),
    ("silver", "silver", "market_data_enriched"),
    ("silver", "silver", "market_data_resampled"),
    ("silver", "silver", "funding_rates"),
    ("gold", "gold", "mart_market_daily"),
    ("gold", "gold", "mart_market_regime_stats"),
)
_INDICATORS = (
    "sma_20", "ema_12", "rsi_14", "macd_line", "bb_upper", "bb_lower", "atr_14", "adx_14", "market_regime",
)  # fmt: skip
_MART_COLUMNS = (
    "market_date", "exchange", "symbol", "open", "high", "low", "close", "volume", "simple_return",
    "realized_volatility", "funding_rate_sum", "coverage", "rejected_rows",
)  # fmt: skip
_DAILY = "mart_market_daily"
_NEWEST_DAYS = 6


def summary(call: StepCall, *, with_contents: bool = True) -> dict[str, Any]:
    """Return the run's summary as plain data.

    Without contents the rows of each layer and the newest values are left out: to count them is to read all there is.
    """
    markets = coverage_report(call.connection, MarketFilter(window=call.run.window))
    days = _day_sums(call)
    return {
        "run_id": call.run.run_id,
        "kind": call.run.kind,
        "window": call.run.window,
        "mode": call.run.mode,
        "market": lake_market(call.connection),
        "layers": layers(call) if with_contents else [],
        "markets": [_market(market, days) for market in _asked(call, markets)],
        "rejected": _reasons(call),
        "damaged": [damage_document(damage) for damage in damages(call)],
        "indicators": newest_indicators(call) if with_contents else [],
        "mart": newest_days(call) if with_contents else [],
        "steps": [
            {"step": item.step, "exchange": item.exchange, "dataset": item.dataset, "seconds": item.seconds}
            for run_id in call.run_ids
            for item in steps_of(call.connection, run_id)
        ],
    }


def layers(call: StepCall) -> list[dict[str, Any]]:
    """Return rows and bytes of each layer's tables, those that there are."""
    from marketlake.lake.files import files_of, open_table, table_names

    root = call.settings.lake_root
    found: list[dict[str, Any]] = []
    for name in table_names(root):
        if name.startswith("bronze."):
            files = files_of(open_table(root, name), name, []).files
            rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
            layer = "DLQ (Delta)" if name.endswith("_dlq") else "bronze (Delta)"
            found.append({"layer": layer, "table": name, "rows": rows, "bytes": size})
    for layer, schema, table in _COUNTED:
        if _exists(call, schema, table):
            query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
            row = call.connection.execute(query).fetchone()
            found.append({"layer": layer, "table": f"{schema}.{table}", "rows": row[0] if row else 0, "bytes": None})
    return found


def newest_indicators(call: StepCall) -> list[dict[str, Any]]:
    """Return, per market, the newest enriched candle of the longest timeframe that has its indicators."""
    present = [name for name in _INDICATORS if name in _columns(call, "silver", "market_data_enriched")]
    if not present:
        return []
    chosen = sql.SQL(", ").join(
        map(sql.Identifier, ["exchange", "symbol", "timeframe", "open_time", "close", *present])
    )
    query = sql.SQL(
        "select distinct on (exchange, symbol) {} from silver.market_data_enriched where {} is not null"
        " order by exchange, symbol, ops.timeframe_length(timeframe) desc, open_time desc"
    ).format(chosen, sql.Identifier(present[0]))
    return _dicts(call, query)


def newest_days(call: StepCall) -> list[dict[str, Any]]:
    """Return the newest rows of the daily mart."""
    if not _exists(call, "gold", _DAILY):
        return []
    query = sql.SQL("select {} from gold.{} order by market_date desc, exchange, symbol limit {}").format(
        sql.SQL(", ").join(map(sql.Identifier, _MART_COLUMNS)), sql.Identifier(_DAILY), sql.Literal(_NEWEST_DAYS)
    )
    return _dicts(call, query)


def _asked(call: StepCall, markets: list[MarketCoverage]) -> list[MarketCoverage]:
    """Return the markets that the run was about."""
    if not call.request.datasets:
        return markets
    asked = {series.market for series in chosen_series(call).series}
    return [market for market in markets if (market.dataset, market.exchange, market.symbol, market.timeframe) in asked]


def _market(market: MarketCoverage, days: dict[tuple[str, ...], tuple[int, int]]) -> dict[str, Any]:
    key = (market.dataset, market.exchange, market.symbol, market.timeframe)
    present, rejected = days.get(key, (0, 0))
    return {
        "dataset": market.dataset,
        "exchange": market.exchange,
        "symbol": market.symbol,
        "timeframe": market.timeframe,
        "expected": market.expected,
        "loaded": present if market.present is None else market.present,
        "rejected": rejected,
        "gaps": len(market.holes),
        "coverage": market.coverage,
        "holes": list(market.holes),
    }


def _day_sums(call: StepCall) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return present and rejected rows by dataset, exchange, symbol and timeframe over the days of the window."""
    if not _exists(call, "bronze", "market_day_quality"):
        return {}
    window = call.run.window
    rows = call.connection.execute(
        "select dataset, exchange, symbol, timeframe, sum(present)::bigint, sum(rejected)::bigint"
        " from bronze.market_day_quality"
        " where %(start)s::date is null or (day >= %(start)s::date and day < %(end)s::timestamptz)"
        " group by 1, 2, 3, 4",
        {"start": window.start if window else None, "end": window.end if window else None},
    ).fetchall()
    return {tuple(row[:4]): (int(row[4]), int(row[5])) for row in rows}


def _reasons(call: StepCall) -> dict[str, int]:
    counts: dict[str, int] = {}
    for verdict in verdicts_of_run(call):
        for reason, count in verdict.reasons.items():
            counts[reason] = counts.get(reason, 0) + count
    return counts


def _exists(call: StepCall, schema: str, table: str) -> bool:
    row = call.connection.execute("select to_regclass(%s) is not null", [f"{schema}.{table}"]).fetchone()
    return bool(row and row[0])


def _columns(call: StepCall, schema: str, table: str) -> list[str]:
    rows = call.connection.execute(
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        " order by attnum",
        [f"{schema}.{table}"],
    ).fetchall()
    return [str(name) for (name,) in rows]


def _dicts(call: StepCall, query: sql.Composed) -> list[dict[str, Any]]:
    with call.connection.cursor(row_factory=dict_row) as cursor:
        rows: list[dict[str, Any]] = cursor.execute(query).fetchall()
        return rows
