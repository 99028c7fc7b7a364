"""Row rules: declared once, read by the DLQ split, the expectation suites and dbt (QUA-01)."""

from __future__ import annotations

from marketlake.datasets import FUNDING_RATES, OHLCV, TRADES, Dataset
from marketlake.errors import UnknownNameError, one_of
from marketlake.rules.dialects import Dialect, render
from marketlake.rules.funding_rates import FUNDING_RULES
from marketlake.rules.ohlcv import OHLCV_RULES, ohlcv_rules
from marketlake.rules.row_rule import RowRule, RuleSet, all_present
from marketlake.rules.trades import TRADES_RULES
from marketlake.settings import Quality

# The columns that conforming adds to a dataset's own for the rules to read; they are not stored in bronze.
CONFORM_COLUMNS = ("unreadable",)
# What each conformed row must say of where it came from; a manifest with a row that does not is refused.
NEEDED_PROVENANCE = ("source", "source_ref", "source_position", "received_at", "digest")


def rules_for(dataset: Dataset, quality: Quality | None = None) -> RuleSet:
    """Return the rules of a dataset, with the settings' price bounds (the shipped ones by default).

    Raises:
        UnknownNameError: no rules are declared for the dataset.
        ConfigError: a price bound of the settings is unreadable.
    """
    if dataset.name == OHLCV.name:
        return RuleSet(ohlcv_rules((quality or Quality()).price_bounds))
    fixed = {FUNDING_RATES.name: FUNDING_RULES, TRADES.name: TRADES_RULES}
    if dataset.name in fixed:
        return RuleSet(fixed[dataset.name])
    raise UnknownNameError(one_of("a dataset with rules", dataset.name, (OHLCV.name, *fixed)))


__all__ = [
    "CONFORM_COLUMNS",
    "FUNDING_RULES",
    "NEEDED_PROVENANCE",
    "OHLCV_RULES",
    "TRADES_RULES",
    "Dialect",
    "RowRule",
    "RuleSet",
    "all_present",
    "render",
    "rules_for",
]
