"""Trades: one row per exchange, symbol, kind and trade id, single or aggregated as the exchange offers them."""

from __future__ import annotations

from datetime import timedelta

from marketlake.datasets.columns import (
    MARKET_COLUMNS,
    PROVENANCE_COLUMNS,
    Column,
    ColumnType,
    Dataset,
    decimal,
    instant,
    integer,
    text,
)

TRADE_KINDS = ("trade", "agg")
TAKER_SIDES = ("buy", "sell")

TRADES = Dataset(
    name="trades",
    table="bronze.trades",
    doc="Trades as the exchange printed them, single or aggregated; one row for each revision that a source gave.",
    columns=(
        *MARKET_COLUMNS,
        text("trade_kind", "trade for single trades, agg for those of one taker order at one price, together."),
        text("trade_id", "The exchange's id; where it gives none, instant, price, amount, side and ordinal."),
        integer("first_trade_id", "First single trade of an aggregate.", is_nullable=True, is_value=True),
        integer("last_trade_id", "Last single trade of an aggregate.", is_nullable=True, is_value=True),
        instant("event_time", "When it was traded, by the exchange's clock, UTC.", is_value=True),
        decimal("price", "Price, in quote asset."),
        decimal("amount", "Traded amount, in base asset."),
        decimal("quote_amount", "Traded value, in quote asset, where the source states it.", is_nullable=True),
        Column("taker_side", ColumnType.TEXT, "The aggressor's side, buy or sell.", is_value=True),
        Column(
            "is_best_match",
            ColumnType.BOOLEAN,
            "Whether it was the best price match, where the source says so.",
            is_nullable=True,
            is_value=True,
        ),
        *PROVENANCE_COLUMNS,
    ),
    key=("exchange", "symbol", "trade_kind", "trade_id"),
    time_column="event_time",
    grain="event",
    market_types=("spot", "perpetual", "future"),
    sources=("archive", "rest"),
    partitioned_by=("exchange", "partition_date"),
    sorted_by=("symbol", "event_time"),
    suite="trades_quality",
    freshness=timedelta(hours=1),
    look_back=0,
    views={"raw_trades": "true"},
    id_column="trade_id",
    longest_rest_range=timedelta(days=1),
)
