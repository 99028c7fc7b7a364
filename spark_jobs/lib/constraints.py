"""What a table demands of rows that Spark does not write: columns that may not be null, and its CHECKs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from marketlake.errors import DataError
from spark_jobs.lib.delta_tables import TableSpec


@contextmanager
def judging_engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an engine that judges Arrow rows by SQL, in one thread: Spark gives each task a core of its own."""
    with duckdb.connect(":memory:", config={"threads": "1"}) as engine:
        engine.execute("set timezone = 'UTC'")
        yield engine


def check_constraints(engine: duckdb.DuckDBPyConnection, rows: pa.Table, spec: TableSpec) -> None:
    """Do nothing if the rows may stand in the table; Delta's own writers ask the same.

    Raises:
        DataError: they may not, so the rules let something through; the text names each constraint with its rows.
    """
    broken = [
        f"{column.name} is null in {nulls} rows"
        for column in spec.columns
        if not column.is_nullable and (nulls := rows.column(column.name).null_count)
    ]
    if spec.constraints:
        engine.register("checked_rows", rows)
        counted = ", ".join(f"count(*) filter (where not coalesce({check}, false))" for _, check in spec.constraints)
        (found,) = engine.execute(f"select {counted} from checked_rows").fetchall()
        named = zip(spec.constraints, found, strict=True)
        broken += [f"{name} fails in {count} rows" for (name, _), count in named if count]
    if broken:
        raise DataError(f"rows for {spec.name} break its constraints, nothing is written: {'; '.join(broken)}")
