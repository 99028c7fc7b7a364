"""The suite that judges typed candles before the split."""

from __future__ import annotations

import great_expectations as gx
from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation
from great_expectations.expectations.metadata_types import FailureSeverity

from expectations.row_rules import (
    observations_are_distinct,
    provenance_is_complete,
    row_rule_expectation,
    schema_is_the_registrys,
)
from marketlake.datasets import OHLCV
from marketlake.rules import rules_for
from marketlake.settings import Quality


def create_market_data_suite(quality: Quality | None = None) -> gx.ExpectationSuite:
    """Return the suite `market_data_quality`.

    A failed `critical` expectation refuses the manifest. Row rules are warnings: single bad rows go to the DLQ, and a
    market is refused when too many of its rows fail, which the split counts by the same predicates.
    """
    rules = rules_for(OHLCV, quality)
    return gx.ExpectationSuite(
        name=OHLCV.suite,
        expectations=[
            schema_is_the_registrys(OHLCV, rules),
            provenance_is_complete(),
            observations_are_distinct(OHLCV),
            *(row_rule_expectation(rule) for rule in rules),
            _newest_candle_is_fresh(),
        ],
    )


def _newest_candle_is_fresh() -> UnexpectedRowsExpectation:
    """Measured against the end of the run's window, so history never alarms (QUA-06)."""
    seconds = int(OHLCV.freshness.total_seconds())
    market = "manifest_no, exchange, symbol, timeframe"
    return UnexpectedRowsExpectation(
        description="newest_candle_is_fresh",
        unexpected_rows_query=(
            f"select {market}, max(close_time) as newest_close_time, max(window_end) as wanted_until from {{batch}} "
            f"where open_time is not null group by {market} "
            "having max(close_time) + max(close_time - open_time) "
            f"+ interval '{seconds}' second <= max(window_end)"
        ),
        severity=FailureSeverity.WARNING,
    )
