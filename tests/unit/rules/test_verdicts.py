"""Each rule's verdict in DuckDB; Postgres and Spark run the same cases in their own folders."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from marketlake.datasets import Dataset
from marketlake.rules import Dialect, rules_for
from tests.rule_cases import CASES, RuleCase, column_types

TYPES = {"text": "varchar", "instant": "timestamptz", "decimal": "decimal(28,12)"}


@pytest.mark.parametrize(("dataset", "good", "case"), CASES, ids=[case.name for _, _, case in CASES])
def test_a_row_gets_the_reasons_and_flags_of_the_rules_it_fails(
    dataset: Dataset, good: dict[str, Any], case: RuleCase
) -> None:
    rules = rules_for(dataset)
    row = {**good, **case.change}
    columns = ", ".join(f"?::{TYPES[kind]} as {name}" for name, kind in column_types(good).items())
    reasons, flags = (rules.reasons_sql(chosen, Dialect.DUCKDB) for chosen in (rules.rejecting, rules.flagging))
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'America/New_York'")
        query = f"select {reasons}, {flags} from (select {columns}) as row"
        found = connection.execute(query, list(row.values())).fetchone()

    assert found == (list(case.reasons), list(case.flags))
