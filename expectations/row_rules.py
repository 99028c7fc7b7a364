"""Row rules as expectations: the same predicates, so that suite and split count the same failures (QUA-01).

Each rule becomes a column that is 1 where a row fails it and an expectation that its sum is 0. Great Expectations
computes all sums in one pass over the rows; an expectation with a query of its own would cost a pass each.
"""

from __future__ import annotations

from collections.abc import Iterable

from great_expectations.expectations.core.expect_column_sum_to_be_between import ExpectColumnSumToBeBetween
from great_expectations.expectations.core.expect_table_columns_to_match_set import ExpectTableColumnsToMatchSet
from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation
from great_expectations.expectations.metadata_types import FailureSeverity

from marketlake.datasets import Dataset
from marketlake.rules import NEEDED_PROVENANCE, Dialect, RowRule, RuleSet

# What a rule's own severity is called in a suite: single bad rows are the DLQ's business, not the gate's.
SEVERITIES = {"reject": FailureSeverity.WARNING, "flag": FailureSeverity.INFO}
# What conformed rows have beside the dataset's own columns when they are judged.
AUDIT_COLUMNS = ("manifest_no", "file_no", "source_position", "unreadable", "window_end")
PROVENANCE = "provenance_is_complete"
_AT_COMMIT = {"revision", "is_retracted", "load_id", "known_at"}


def audited_columns(dataset: Dataset) -> list[str]:
    """Return the columns that conformed rows have when they are judged."""
    own = [name for name in dataset.column_names if name not in _AT_COMMIT]
    return [*own, *AUDIT_COLUMNS]


def failure_columns(rules: RuleSet) -> list[str]:
    """Return the Spark expressions of the columns that are 1 where a row fails a rule or lacks its provenance."""
    missing = " or ".join(f"{name} is null" for name in NEEDED_PROVENANCE)
    named = {rule.name: rules.failed_sql(rule, Dialect.SPARK) for rule in rules} | {PROVENANCE: missing}
    return [f"cast({failed} as int) as {_failure_column(name)}" for name, failed in named.items()]


def row_rule_expectation(rule: RowRule) -> ExpectColumnSumToBeBetween:
    """Return the expectation that no row fails the rule."""
    notes = f"{rule.reason}: every row must satisfy {rule.predicate}"
    return _no_failures(rule.name, SEVERITIES[rule.severity], notes)


def provenance_is_complete() -> ExpectColumnSumToBeBetween:
    """Return the expectation that every row says where it came from."""
    return _no_failures(PROVENANCE, FailureSeverity.CRITICAL, f"every row must have {', '.join(NEEDED_PROVENANCE)}")


def schema_is_the_registrys(dataset: Dataset, rules: Iterable[RowRule]) -> ExpectTableColumnsToMatchSet:
    """Return the expectation that the typed rows have the registry's columns, no more and no less."""
    failures = [_failure_column(rule.name) for rule in rules]
    return ExpectTableColumnsToMatchSet(
        description="schema_is_the_registrys",
        column_set=sorted([*audited_columns(dataset), *failures, _failure_column(PROVENANCE)]),
        exact_match=True,
        severity=FailureSeverity.CRITICAL,
    )


def observations_are_distinct(dataset: Dataset) -> UnexpectedRowsExpectation:
    """Return the expectation that no observation is there twice; conforming has collapsed repeated rows before.

    Equal observations have equal hashes of their place: only rows whose hash occurs twice, none as a rule, are grouped
    by all that identifies them, which would cost more than all other expectations together.
    """
    place = "xxhash64(manifest_no, source_ref, received_at, source_position)"
    identity = ", ".join(["manifest_no", *dataset.key, "source", "received_at", "source_ref", "source_position"])
    suspects = f"select {place} as place from {{batch}} group by place having count(*) > 1"
    return UnexpectedRowsExpectation(
        description="observations_are_distinct",
        unexpected_rows_query=(
            f"select {identity}, count(*) as row_count from {{batch}} where {place} in ({suspects}) "
            f"group by {identity} having count(*) > 1"
        ),
        severity=FailureSeverity.CRITICAL,
    )


def _no_failures(name: str, severity: FailureSeverity, notes: str) -> ExpectColumnSumToBeBetween:
    return ExpectColumnSumToBeBetween(
        description=name, column=_failure_column(name), min_value=0, max_value=0, severity=severity, notes=notes
    )


def _failure_column(name: str) -> str:
    return f"failed_{name}"
