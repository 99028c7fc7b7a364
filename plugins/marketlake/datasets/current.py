"""The one definition of the current row, as SQL that DuckDB, Spark and Postgres share (LAKE-12)."""

from __future__ import annotations

from marketlake.datasets.columns import SOURCE_PRECEDENCE, Dataset


def source_rank_sql(column: str = "source") -> str:
    """Return an expression that ranks sources, 0 for the best; unknown ones rank last."""
    cases = " ".join(f"when '{source}' then {rank}" for rank, source in enumerate(SOURCE_PRECEDENCE))
    return f"case {column} {cases} else {len(SOURCE_PRECEDENCE)} end"


def newest_first_sql() -> str:
    """Return the order of a key's rows: best source, then latest received_at, then highest revision."""
    return f"{source_rank_sql()}, received_at desc, revision desc"


def current_rows_sql(dataset: Dataset, relation: str) -> str:
    """Return a query of the current rows of `relation`, a table or subquery with all columns of the dataset.

    A key whose best source's newest row is a retraction has no current row. A lower source's rows never show below it.
    """
    key = ", ".join(dataset.key)
    columns = ", ".join(dataset.column_names)
    return (
        f"select {columns} from (select *, row_number() over (partition by {key} order by {newest_first_sql()})"
        f" as _place from {relation}) as _ranked where _place = 1 and not is_retracted"
    )
