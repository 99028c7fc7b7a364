"""Row rules of funding events (QUA-05, GEN-02)."""

from __future__ import annotations

from marketlake.datasets import FUNDING_RATES
from marketlake.rules.row_rule import RowRule, all_present

_MINUTE_US = 60 * 1_000_000
_HOUR_US = 60 * _MINUTE_US
_PAST_HOUR = f"@epoch_us(funding_time_raw) % {_HOUR_US}"

FUNDING_RULES = (
    RowRule(
        "key_is_complete", all_present(FUNDING_RATES.key), "missing key", reads=FUNDING_RATES.key, completeness=True
    ),
    RowRule("rate_is_present", "funding_rate is not null", "missing rate", reads=("funding_rate",), completeness=True),
    RowRule(
        "funding_time_is_at_a_full_hour",
        f"{_PAST_HOUR} <= {_MINUTE_US} or {_PAST_HOUR} >= {_HOUR_US - _MINUTE_US}",
        "not at a full hour",
        reads=("funding_time", "funding_time_raw"),
    ),
    RowRule(
        "funding_time_is_past",
        "funding_time <= received_at + interval '1 hour'",
        "in the future",
        reads=("funding_time", "received_at"),
    ),
    RowRule(
        "funding_time_is_in_history", "funding_time >= @instant(2009-01-03)", "before 2009", reads=("funding_time",)
    ),
    RowRule("values_are_readable", "unreadable is null", "unreadable value", reads=("unreadable",)),
    RowRule(
        "rate_is_plausible",
        "abs(funding_rate) <= 0.03",
        "rate out of bounds",
        reads=("funding_rate",),
        severity="flag",
    ),
)
