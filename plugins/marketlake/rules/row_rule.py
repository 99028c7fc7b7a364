"""A rule about one row, and the rules of a dataset as one set with a version.

Null means failed. A failed completeness rule silences the rules that read the missing value, so that a row without
prices has one reason; for that each rule names the columns it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from marketlake.rules.dialects import Dialect, render
from marketlake.work import hash_id

Severity = Literal["reject", "flag"]


@dataclass(frozen=True)
class RowRule:
    """What every row must satisfy: a predicate, and the reason that a failing row gets.

    `reject` sends the row to the DLQ; `flag` keeps and counts it. `reads` are the columns of the predicate.
    """

    name: str
    predicate: str
    reason: str
    reads: tuple[str, ...]
    severity: Severity = "reject"
    completeness: bool = False


@dataclass(frozen=True)
class RuleSet:
    """The rules of one dataset under one deployment's settings, in the order in which reasons are given."""

    rules: tuple[RowRule, ...]

    def __iter__(self) -> Iterator[RowRule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    @cached_property
    def version(self) -> str:
        """A hash of all rules, 32 hex digits; it changes when any of them does."""
        return hash_id(*(repr(rule) for rule in self.rules))

    @property
    def rejecting(self) -> tuple[RowRule, ...]:
        """The rules that send a row to the DLQ."""
        return tuple(rule for rule in self.rules if rule.severity == "reject")

    @property
    def flagging(self) -> tuple[RowRule, ...]:
        """The rules that keep a row and count it."""
        return tuple(rule for rule in self.rules if rule.severity == "flag")

    def readable_from(self, columns: Iterable[str]) -> RuleSet:
        """Return the rules that need no other columns than these, say those of a published table."""
        known = set(columns)
        return RuleSet(tuple(rule for rule in self.rules if known.issuperset(rule.reads)))

    def failed_sql(self, rule: RowRule, dialect: Dialect) -> str:
        """Return the condition under which a row fails the rule: true or false, never null."""
        failed = f"not coalesce({render(rule.predicate, dialect)}, false)"
        speaks = [f"{column} is not null" for column in self._guarded_columns(rule)]
        return " and ".join([*speaks, failed])

    def reasons_sql(self, rules: Iterable[RowRule], dialect: Dialect) -> str:
        """Return an expression for the array of reasons that a row fails these rules for; empty for a good row."""
        cases = ", ".join(f"case when {self.failed_sql(rule, dialect)} then '{rule.reason}' end" for rule in rules)
        if dialect is Dialect.SPARK:
            return f"array_compact(cast(array({cases}) as array<string>))"
        if dialect is Dialect.DUCKDB:
            return f"list_filter([{cases}]::varchar[], lambda _reason: _reason is not null)"
        return f"array_remove(array[{cases}]::text[], null)"

    def _guarded_columns(self, rule: RowRule) -> list[str]:
        if rule.completeness:
            return []
        guarded = {column for other in self.rules if other.completeness for column in other.reads}
        return [column for column in rule.reads if column in guarded]


def all_present(columns: Iterable[str]) -> str:
    """Return the predicate that none of the columns is null."""
    return " and ".join(f"{column} is not null" for column in columns)
