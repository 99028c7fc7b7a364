"""The one definition of the current row, as SQL that DuckDB, Spark and Postgres share (LAKE-12)."""

from __future__ import annotations

from collections.abc import Sequence

from marketlake.datasets.columns import SOURCE_PRECEDENCE, Dataset


def source_rank_sql(column: str = "source") -> str:
    """Return an expression that ranks sources, 0 for the best; unknown ones rank last."""
    cases = " ".join(f"when '{source}' then {rank}" for rank, source in enumerate(SOURCE_PRECEDENCE))
    return f"case {column} {cases} else {len(SOURCE_PRECEDENCE)} end"


def newest_first_sql() -> str:
    """Return the order of a key's rows: best source, then latest received_at, then highest revision."""
    return f"{source_rank_sql()}, received_at desc, revision desc"


def current_rows_sql(
    dataset: Dataset, relation: str, *, columns: Sequence[str] | None = None, decided_by_key: Sequence[str] = ()
) -> str:
    """Return a query of the current rows of `relation`: of all its dataset's columns, or of these.

    A key whose best source's newest row is a retraction has no current row. A lower source's rows never show below it.
    `decided_by_key` names columns that are equal for all rows of a key; an engine can then push filters on them down.
    """
    key = ", ".join([*dataset.key, *decided_by_key])
    chosen = ", ".join(columns or dataset.column_names)
    return (
        f"select {chosen} from (select *, row_number() over (partition by {key} order by {newest_first_sql()})"
        f" as _place from {relation}) as _ranked where _place = 1 and not is_retracted"
    )


def first_rows_sql(dataset: Dataset, relation: str, *, columns: Sequence[str] | None = None) -> str:
    """Return a query of the row by which each key of `relation` became known first; best source first within a load."""
    key = ", ".join(dataset.key)
    chosen = ", ".join(columns or dataset.column_names)
    return (
        f"select {chosen} from (select *, row_number() over (partition by {key} order by known_at,"
        f" {source_rank_sql()}, revision) as _place from {relation}) as _ranked where _place = 1 and not is_retracted"
    )
