"""The holes of the lake, from the mirror of the ledger, so that they can be read without Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from marketlake.errors import UsageError
from marketlake.lake.files import files_of, open_table, table_names
from marketlake.lake.sql import dataset_of_files

GAPS = "control.coverage_gaps"


def read_gaps(
    root: str, equal: Mapping[str, str | None], start: datetime | None = None, end: datetime | None = None
) -> pa.Table:
    """Return the holes that overlap `[start, end)` and whose columns equal the values given, by market and start.

    Raises:
        UsageError: the ledger was never mirrored into this lake.
    """
    if GAPS not in table_names(root):
        raise UsageError(
            f"the lake at {root} has no mirror of its ledger yet; a run writes it as its last step,"
            " `marketlake ledger mirror` writes it now"
        )
    tests = [pc.field(name) == pa.scalar(value) for name, value in equal.items() if value is not None]
    if start is not None:
        tests.append(pc.field("gap_end") > pa.scalar(start, pa.timestamp("us", tz="UTC")))
    if end is not None:
        tests.append(pc.field("gap_start") < pa.scalar(end, pa.timestamp("us", tz="UTC")))
    filter = None
    for test in tests:
        filter = test if filter is None else filter & test
    rows = dataset_of_files(files_of(open_table(root, GAPS), GAPS, [])).to_table(filter=filter)
    order = ["dataset", "exchange", "symbol", "timeframe", "gap_start"]
    return rows.sort_by([(name, "ascending") for name in order])
