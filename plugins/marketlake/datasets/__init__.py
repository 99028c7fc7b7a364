"""The registry: one declaration per dataset, read by DAGs, jobs, suites, DDL and docs."""

from __future__ import annotations

from marketlake.datasets.columns import SOURCE_PRECEDENCE, Column, ColumnType, Dataset
from marketlake.datasets.funding_rates import FUNDING_RATES
from marketlake.datasets.ohlcv import OHLCV
from marketlake.datasets.trades import TRADES
from marketlake.errors import UnknownNameError, one_of

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (OHLCV, FUNDING_RATES, TRADES)}


def dataset_named(name: str) -> Dataset:
    """Return the dataset of this name.

    Raises:
        UnknownNameError: no such dataset; the text names those there are.
    """
    if name not in DATASETS:
        raise UnknownNameError(one_of("dataset", name, DATASETS))
    return DATASETS[name]


__all__ = [
    "DATASETS",
    "FUNDING_RATES",
    "OHLCV",
    "SOURCE_PRECEDENCE",
    "TRADES",
    "Column",
    "ColumnType",
    "Dataset",
    "dataset_named",
]
