"""Candles: one row per exchange, symbol, timeframe and open time, from archives and REST."""

from __future__ import annotations

from datetime import timedelta

from marketlake.datasets.columns import MARKET_COLUMNS, PROVENANCE_COLUMNS, Dataset, decimal, instant, integer, text
from marketlake.timeframes import TIMEFRAMES

OHLCV = Dataset(
    name="ohlcv",
    table="bronze.ohlcv",
    doc="Candles of every timeframe; one row for each revision that a source gave.",
    columns=(
        *MARKET_COLUMNS,
        text("timeframe", "Length of the candle: 1m, 5m, 15m, 1h, 4h or 1d."),
        instant("open_time", "Start of the candle, UTC; it covers [open_time, open_time + timeframe)."),
        instant("close_time", "End of the candle, exclusive, UTC: open_time + timeframe."),
        decimal("open", "First price, in quote asset."),
        decimal("high", "Highest price, in quote asset."),
        decimal("low", "Lowest price, in quote asset."),
        decimal("close", "Last price, in quote asset."),
        decimal("volume", "Traded amount, in base asset."),
        decimal("quote_volume", "Traded value, in quote asset.", is_nullable=True),
        integer("trade_count", "Number of trades.", is_nullable=True, is_value=True),
        decimal("taker_buy_volume", "Amount bought by takers, in base asset.", is_nullable=True),
        decimal("taker_buy_quote_volume", "Value bought by takers, in quote asset.", is_nullable=True),
        instant(
            "reported_close_time",
            "The exchange's own close instant, UTC, cut to milliseconds; earlier than close_time around outages.",
            is_nullable=True,
            is_value=True,
        ),
        *PROVENANCE_COLUMNS,
        text("partition_month", "UTC month of open_time, YYYY-MM; physical partition."),
    ),
    key=("exchange", "symbol", "timeframe", "open_time"),
    time_column="open_time",
    grain="candle",
    market_types=("spot", "perpetual", "future"),
    sources=("archive", "rest"),
    partitioned_by=("exchange", "timeframe", "partition_month"),
    sorted_by=("symbol", "open_time"),
    suite="market_data_quality",
    freshness=timedelta(hours=1),
    look_back=1,
    views={f"raw_market_data_{timeframe}": f"timeframe = '{timeframe}'" for timeframe in TIMEFRAMES},
)
