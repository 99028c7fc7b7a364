"""The suite that judges typed trades before the split."""

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
from marketlake.datasets import TRADES
from marketlake.rules import rules_for
from marketlake.settings import Quality


def create_trades_suite(quality: Quality | None = None) -> gx.ExpectationSuite:
    """Return the suite `trades_quality`; severities as in `market_data_quality`."""
    rules = rules_for(TRADES, quality)
    return gx.ExpectationSuite(
        name=TRADES.suite,
        expectations=[
            schema_is_the_registrys(TRADES, rules),
            provenance_is_complete(),
            observations_are_distinct(TRADES),
            *(row_rule_expectation(rule) for rule in rules),
            _newest_trade_is_fresh(),
        ],
    )


def _newest_trade_is_fresh() -> UnexpectedRowsExpectation:
    seconds = int(TRADES.freshness.total_seconds())
    market = "manifest_no, exchange, symbol"
    return UnexpectedRowsExpectation(
        description="newest_trade_is_fresh",
        unexpected_rows_query=(
            f"select {market}, max(event_time) as newest_event_time, max(window_end) as wanted_until "
            f"from {{batch}} where event_time is not null group by {market} "
            f"having max(event_time) + interval '{seconds}' second <= max(window_end)"
        ),
        severity=FailureSeverity.WARNING,
    )
