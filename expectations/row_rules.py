"""Row rules as expectations: the same predicates, so that both count the same failures (QUA-01)."""

from __future__ import annotations

from great_expectations.expectations.core.expect_table_columns_to_match_set import ExpectTableColumnsToMatchSet
from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation
from great_expectations.expectations.metadata_types import FailureSeverity

from marketlake.datasets import Dataset
from marketlake.rules import Dialect, RowRule, RuleSet

# A rule's own severity and what it is called in a suite: single bad rows are the DLQ's business, not the gate's.
SEVERITIES = {"reject": FailureSeverity.WARNING, "flag": FailureSeverity.INFO}
# What conformed rows have beside the dataset's own columns when they are judged.
AUDIT_COLUMNS = ("manifest_no", "file_no", "source_position", "unreadable", "window_end")
_AT_COMMIT = {"revision", "is_retracted", "load_id", "known_at"}


def audited_columns(dataset: Dataset) -> list[str]:
    """Return the columns of the rows that a dataset's suite judges, sorted."""
    own = [name for name in dataset.column_names if name not in _AT_COMMIT]
    return sorted([*own, *AUDIT_COLUMNS])


def row_rule_expectation(rules: RuleSet, rule: RowRule, dataset: Dataset) -> UnexpectedRowsExpectation:
    """Return the expectation that no row fails the rule; its description is the rule's name."""
    shown = ", ".join(dict.fromkeys([*dataset.key, *rule.reads, "source_ref", "source_position"]))
    return UnexpectedRowsExpectation(
        description=rule.name,
        unexpected_rows_query=f"select {shown} from {{batch}} where {rules.failed_sql(rule, Dialect.SPARK)}",
        severity=SEVERITIES[rule.severity],
        meta={"rule": rule.name, "reason": rule.reason},
    )


def schema_is_the_registrys(dataset: Dataset) -> ExpectTableColumnsToMatchSet:
    """Return the expectation that the typed rows have the registry's columns, no more and no less."""
    return ExpectTableColumnsToMatchSet(
        description="schema_is_the_registrys",
        column_set=audited_columns(dataset),
        exact_match=True,
        severity=FailureSeverity.CRITICAL,
    )


def provenance_is_complete() -> UnexpectedRowsExpectation:
    """Return the expectation that every row says where it came from."""
    needed = ("source", "source_ref", "source_position", "received_at", "digest")
    missing = " or ".join(f"{name} is null" for name in needed)
    return UnexpectedRowsExpectation(
        description="provenance_is_complete",
        unexpected_rows_query=f"select {', '.join(needed)} from {{batch}} where {missing}",
        severity=FailureSeverity.CRITICAL,
    )


def observations_are_distinct(dataset: Dataset) -> UnexpectedRowsExpectation:
    """Return the expectation that no observation is there twice; conforming has collapsed repeated rows before."""
    identity = ", ".join(["manifest_no", *dataset.key, "source", "received_at", "source_ref", "source_position"])
    return UnexpectedRowsExpectation(
        description="observations_are_distinct",
        unexpected_rows_query=(
            f"select {identity}, count(*) as row_count from {{batch}} group by {identity} having count(*) > 1"
        ),
        severity=FailureSeverity.CRITICAL,
    )
