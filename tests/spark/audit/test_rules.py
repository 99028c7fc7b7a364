"""Each rule's verdict in Spark; DuckDB and Postgres judge the same rows in their own folders (QUA-01 … QUA-05)."""

from __future__ import annotations

import pytest
from pyspark.sql import Row, SparkSession

from marketlake.datasets import DATASETS
from marketlake.rules import rules_for
from spark_jobs.lib.quality import split_by_rules, with_reasons
from tests.rule_cases import CASES, column_types

TYPES = {"text": "string", "instant": "timestamp", "decimal": "decimal(28,12)"}


def judged(spark: SparkSession, name: str) -> tuple[list[tuple[str, list[str], list[str]]], int, int]:
    """Return reasons and flags of each case of a dataset, by its name, and how many were accepted and rejected."""
    cases = [(good, case) for dataset, good, case in CASES if dataset.name == name]
    types = column_types(cases[0][0])
    schema = ", ".join(["case_name string", *(f"{column} {TYPES[kind]}" for column, kind in types.items())])
    rows = [(case.name, *({**good, **case.change}[column] for column in types)) for good, case in cases]
    frame = spark.createDataFrame(rows, schema)
    rules = rules_for(DATASETS[name])
    found: list[Row] = with_reasons(frame, rules).collect()
    accepted, rejected = split_by_rules(frame, rules)
    told = [(row["case_name"], row["dlq_reasons"], row["flag_reasons"]) for row in found]
    return told, accepted.count(), rejected.count()


@pytest.mark.parametrize("name", ["ohlcv", "funding_rates", "trades"])
def test_each_row_gets_the_reasons_and_flags_of_the_rules_it_fails(spark: SparkSession, name: str) -> None:
    cases = [case for dataset, _, case in CASES if dataset.name == name]

    told, accepted, rejected = judged(spark, name)

    assert told == [(case.name, list(case.reasons), list(case.flags)) for case in cases]
    assert (accepted, rejected) == (sum(not case.reasons for case in cases), sum(bool(case.reasons) for case in cases))
