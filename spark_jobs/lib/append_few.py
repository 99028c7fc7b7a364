"""Append few rows to a Delta table from the driver: Spark's own write and commit of a day of candles takes a second."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame

from marketlake.lake.data_files import DataFileWriter, remove_files
from spark_jobs.lib.constraints import check_constraints, judging_engine
from spark_jobs.lib.delta_tables import (
    Commit,
    LoadStamp,
    TableSpec,
    append_files_once,
    append_once,
    arrow_field,
    check_columns,
    committed_load,
    ensure_table,
)


def append_few_once(frame: DataFrame, root: str, spec: TableSpec, stamp: LoadStamp) -> Commit:
    """Append the frame as `append_once` does, from the memory of the driver.

    Raises:
        DataError: the frame's columns are not the table's, its rows break a constraint, or the id is there with another
            count of typed rows.
    """
    path = ensure_table(root, spec)
    if committed_load(path, stamp.load_id) is not None:
        return append_once(frame, root, spec, stamp)
    check_columns(frame, spec)
    schema = pa.schema([arrow_field(column).with_nullable(True) for column in spec.columns])
    rows = frame.select(*spec.column_names).toArrow().cast(schema)
    rows = rows.sort_by([(name, "ascending") for name in (*spec.partitioned_by, *spec.sorted_by)])
    with judging_engine() as engine:
        check_constraints(engine, rows, spec)
    writer = DataFileWriter(path, schema, spec.partitioned_by)
    writer.write(rows)
    files = writer.close()
    try:
        return append_files_once(files, root, spec, stamp)
    except Exception:
        # What failed after its commit is finished by a repeat: its files are the table's.
        if committed_load(path, stamp.load_id) is None:
            remove_files(path, files)
        raise
