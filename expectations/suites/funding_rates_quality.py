"""The suite that judges typed funding events before the split."""

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
from marketlake.datasets import FUNDING_RATES
from marketlake.rules import rules_for
from marketlake.settings import Quality

# The longest interval that exchanges use; a market without an event for longer than that is late.
LONGEST_INTERVAL_HOURS = 8


def create_funding_rates_suite(quality: Quality | None = None) -> gx.ExpectationSuite:
    """Return the suite `funding_rates_quality`; severities as in `market_data_quality`."""
    rules = rules_for(FUNDING_RATES, quality)
    return gx.ExpectationSuite(
        name=FUNDING_RATES.suite,
        expectations=[
            schema_is_the_registrys(FUNDING_RATES, rules),
            provenance_is_complete(),
            observations_are_distinct(FUNDING_RATES),
            *(row_rule_expectation(rule) for rule in rules),
            _newest_event_is_fresh(),
        ],
    )


def _newest_event_is_fresh() -> UnexpectedRowsExpectation:
    seconds = int(FUNDING_RATES.freshness.total_seconds()) + LONGEST_INTERVAL_HOURS * 3600
    market = "manifest_no, exchange, symbol"
    return UnexpectedRowsExpectation(
        description="newest_event_is_fresh",
        unexpected_rows_query=(
            f"select {market}, max(funding_time) as newest_funding_time, max(window_end) as wanted_until "
            f"from {{batch}} where funding_time is not null group by {market} "
            f"having max(funding_time) + interval '{seconds}' second <= max(window_end)"
        ),
        severity=FailureSeverity.WARNING,
    )
