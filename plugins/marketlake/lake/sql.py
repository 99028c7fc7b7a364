"""The lake as a DuckDB database in memory: a view per table, the `raw_*` views of current rows, macros for `as_of`.

Each view stands on an Arrow dataset whose fragments carry the file statistics of the transaction log, so DuckDB opens
only files that can hold what a query filters on, and reads only the columns it uses. No JVM, no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyarrow.fs import LocalFileSystem

from marketlake.datasets import DATASETS, Dataset
from marketlake.datasets.current import current_rows_sql
from marketlake.errors import DataError, UsageError
from marketlake.lake.files import LakeFile, TableFiles, files_of, open_table, table_names
from marketlake.lake.schemas import arrow_schema

_KINDS = duckdb.StatementType
# MULTI is what a pivot is made of.
_READING = (_KINDS.SELECT, _KINDS.EXPLAIN, _KINDS.PRAGMA, _KINDS.MULTI)
# Equal for all rows of a key, so that a filter on them reaches the files through the ranking.
_DECIDED_BY_KEY = ("partition_date", "partition_asset_pair", "partition_month")


@contextmanager
def open_database(root: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the lake's tables and views in DuckDB, in UTC; closed at the end of the block."""
    options: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "python_enable_replacements": "false",
    }
    with duckdb.connect(":memory:", config=options) as connection:
        connection.execute("set TimeZone = 'UTC'")
        held = table_names(root)
        for name in sorted({*held, *(dataset.table for dataset in DATASETS.values())}):
            _add_table(connection, root, name, is_held=name in held)
        for dataset in DATASETS.values():
            _add_views(connection, dataset)
        yield connection


def run_query(root: str, sql: str) -> pa.Table:
    """Return the result of a query over the lake.

    Raises:
        UsageError: DuckDB refuses the text, or it returns no rows; the message names the views where a name is unknown.
        DataError: a file that the lake's log names cannot be read.
    """
    with open_database(root) as connection:
        try:
            return connection.sql(_one_query(sql)).to_arrow_table()
        except duckdb.CatalogException as error:
            # DuckDB's guess may be one of its own tables; the lake's names follow.
            said = _first_lines(error).partition("\nDid you mean")[0]
            raise UsageError(f"{said}\nthe lake has: {', '.join(view_names(connection))}") from None
        except duckdb.Error as error:
            if isinstance(error, duckdb.IOException) or "reading the stream" in str(error):
                raise DataError(f"the lake at {root} cannot be read: {_first_lines(error)}") from error
            raise UsageError(_first_lines(error)) from None


def view_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names that a query can use, tables and views, sorted."""
    rows = connection.execute(
        "select case schema_name when 'main' then '' else schema_name || '.' end || view_name"
        " from duckdb_views() where not internal and not temporary order by 1"
    ).fetchall()
    macros = [f"{dataset.name}_as_of(ts)" for dataset in DATASETS.values()]
    return [row[0] for row in rows] + macros


def dataset_of_files(table: TableFiles) -> pads.Dataset:
    """Return the table as an Arrow dataset; each file carries its bounds, so that filters skip it unopened."""
    format, filesystem = pads.ParquetFileFormat(), LocalFileSystem()
    fragments = [
        format.make_fragment(file.path, filesystem=filesystem, partition_expression=_guarantee(file, table))
        for file in table.files
    ]
    return pads.FileSystemDataset(fragments, table.schema, format, filesystem)


def _one_query(sql: str) -> str:
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _READING:
        raise UsageError("sql must be one query that only reads, such as: select count(*) from bronze.ohlcv")
    return sql


def _add_table(connection: duckdb.DuckDBPyConnection, root: str, name: str, *, is_held: bool) -> None:
    layer, _, table = name.partition(".")
    dataset = next((dataset for dataset in DATASETS.values() if dataset.table == name), None)
    rows: Any
    if is_held:
        columns = [] if dataset is None else [*dataset.key, "known_at", "partition_date", "partition_asset_pair"]
        rows = dataset_of_files(files_of(open_table(root, name), name, columns))
    else:
        assert dataset is not None
        rows = arrow_schema(dataset).empty_table()
    connection.register(f"_{layer}_{table}", rows)
    connection.execute(f'create schema if not exists "{layer}"')
    connection.execute(f'create view "{layer}"."{table}" as select * from "_{layer}_{table}"')


def _add_views(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    decided = [column for column in _DECIDED_BY_KEY if column in dataset.column_names]
    for view, condition in dataset.views.items():
        kept = f"(select * from {dataset.table} where {condition})"
        connection.execute(f"create view {view} as {current_rows_sql(dataset, kept, decided_by_key=decided)}")
    known = f"(select * from {dataset.table} where known_at <= ts::timestamptz)"
    query = current_rows_sql(dataset, known, decided_by_key=decided)
    connection.execute(f"create macro {dataset.name}_as_of(ts) as table {query}")


def _guarantee(file: LakeFile, table: TableFiles) -> pc.Expression:
    terms = [
        term
        for column, bound in file.bounds.items()
        for term in _terms(column, bound, table.schema.field(column).type, is_partition=column in file.partitions)
    ]
    return reduce(lambda left, right: left & right, terms, pc.scalar(True))


def _terms(column: str, bound: tuple[Any, Any], type: pa.DataType, *, is_partition: bool) -> list[pc.Expression]:
    low, high = bound
    field = pc.field(column)
    if is_partition:
        # An Arrow dataset takes the column's value from exactly this form.
        return [field.is_null() if low is None else field == pa.scalar(low, type)]
    terms = [field >= pa.scalar(low, type)] if low is not None else []
    return [*terms, field <= pa.scalar(high, type)] if high is not None else terms


def _first_lines(error: Exception) -> str:
    return "\n".join(str(error).strip().splitlines()[:6])


__all__ = ["dataset_of_files", "open_database", "run_query", "view_names"]
