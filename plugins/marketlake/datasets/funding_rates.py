"""Funding rates: one row per exchange, symbol and funding minute of a perpetual."""

from __future__ import annotations

from datetime import timedelta

from marketlake.datasets.columns import MARKET_COLUMNS, PROVENANCE_COLUMNS, Dataset, decimal, instant, integer

FUNDING_RATES = Dataset(
    name="funding_rates",
    table="bronze.funding_rates",
    doc="Settled funding events of perpetuals; one row for each revision that a source gave.",
    columns=(
        *MARKET_COLUMNS,
        instant("funding_time", "When the rate was paid, UTC, rounded to the nearest minute."),
        instant("funding_time_raw", "The exact instant that the source gave, UTC; some milliseconds late."),
        integer("funding_interval_hours", "Hours between events, where the source states them.", is_nullable=True),
        decimal("funding_rate", "Fraction of the position paid by longs to shorts for the interval (0.0001 = 1 bp)."),
        decimal("mark_price", "Mark price at the event, in quote asset.", is_nullable=True),
        *PROVENANCE_COLUMNS,
    ),
    key=("exchange", "symbol", "funding_time"),
    time_column="funding_time",
    grain="event",
    market_types=("perpetual",),
    sources=("archive", "rest"),
    partitioned_by=("exchange",),
    sorted_by=("symbol", "funding_time"),
    suite="funding_rates_quality",
    freshness=timedelta(hours=1),
    look_back=0,
    views={"raw_funding_rates": "true"},
)
