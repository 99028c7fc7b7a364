"""One suite per dataset (QUA-08), built from `marketlake.rules`; the JSON files beside are their stored form.

`python -m expectations.suites.stored` writes the files again after a rule has changed.
"""

from __future__ import annotations

import great_expectations as gx

from expectations.suites.funding_rates_quality import create_funding_rates_suite
from expectations.suites.market_data_quality import create_market_data_suite
from expectations.suites.trades_quality import create_trades_suite
from marketlake.datasets import DATASETS, Dataset
from marketlake.errors import UnknownNameError, one_of
from marketlake.settings import Quality

SUITES = {
    "market_data_quality": create_market_data_suite,
    "funding_rates_quality": create_funding_rates_suite,
    "trades_quality": create_trades_suite,
}


def suite_named(name: str, quality: Quality | None = None) -> gx.ExpectationSuite:
    """Return the suite of this name under these settings.

    Raises:
        UnknownNameError: no suite has this name; the text names those there are.
    """
    if name not in SUITES:
        raise UnknownNameError(one_of("suite", name, SUITES))
    return SUITES[name](quality)


def dataset_of_suite(name: str) -> Dataset:
    """Return the dataset that a suite judges."""
    return next(dataset for dataset in DATASETS.values() if dataset.suite == name)


__all__ = [
    "SUITES",
    "create_funding_rates_suite",
    "create_market_data_suite",
    "create_trades_suite",
    "dataset_of_suite",
    "suite_named",
]
