"""The Arrow form of the registry's columns."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from marketlake.datasets import ColumnType, Dataset
from marketlake.errors import UnknownNameError, one_of

ARROW_TYPES = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
    ColumnType.DATE: pa.date32(),
    ColumnType.DECIMAL: pa.decimal128(28, 12),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TEXT_LIST: pa.list_(pa.string()),
}


def arrow_schema(dataset: Dataset, columns: Iterable[str] | None = None) -> pa.Schema:
    """Return the schema of a dataset's columns, all of them by default, values exact.

    Raises:
        UnknownNameError: a column that the dataset does not have; the text names those it has.
    """
    types = {column.name: ARROW_TYPES[column.type] for column in dataset.columns}
    chosen = list(types) if columns is None else list(columns)
    for name in chosen:
        if name not in types:
            raise UnknownNameError(one_of("column", name, types))
    return pa.schema([(name, types[name]) for name in chosen])


def default_columns(dataset: Dataset) -> tuple[str, ...]:
    """Return what a reader gets unasked: the time column and the values, without the exchange's own close instant."""
    values = (column.name for column in dataset.value_columns if column.name != "reported_close_time")
    return (dataset.time_column, *(name for name in values if name != dataset.time_column))
