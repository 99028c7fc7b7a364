"""The gate between conform and commit: Great Expectations over all typed rows of a dataset, verdicts by market.

A failed critical expectation refuses the manifest; a market with too large a share of rejected rows is refused alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake.crash import crash_point
from marketlake.datasets import Dataset
from marketlake.errors import DataError
from marketlake.rules import RuleSet, rules_for
from marketlake.settings import Settings
from spark_jobs.audit.verdicts import MarketCounts, count_markets, sample_rejected
from spark_jobs.bronze.landed_rows import KEPT

if TYPE_CHECKING:
    from spark_jobs.audit.gx_run import Outcome, SuiteOutcome

_log = logging.getLogger("marketlake.audit")
# Columns that travel with typed rows and are none of the audit's business.
_NOT_AUDITED = ("fate", "answer_no", "raw_payload", "place", "dlq_reasons", "flag_reasons")


@dataclass(frozen=True)
class Judgement:
    """What the audit found of all manifests together.

    `critical`: number of a manifest → why the whole of it is refused. `refused`: (number, symbol) → why that market is.
    `docs` is the address of the data docs, None where there was nothing to judge. `warnings` names the expectations
    about all rows together that failed and refuse nothing, such as freshness.
    """

    counts: tuple[MarketCounts, ...]
    critical: dict[int, str] = field(default_factory=dict)
    refused: dict[tuple[int, str], str] = field(default_factory=dict)
    docs: str | None = None
    warnings: tuple[str, ...] = ()

    def of(self, manifest_no: int) -> list[MarketCounts]:
        """Return the counts of one manifest's markets."""
        return [counts for counts in self.counts if counts.manifest_no == manifest_no]

    def refused_symbols(self, manifest_no: int) -> list[str]:
        """Return the symbols of a manifest that are refused alone."""
        return sorted(symbol for number, symbol in self.refused if number == manifest_no)


def judge(
    judged: DataFrame,
    dataset: Dataset,
    *,
    rules: RuleSet,
    settings: Settings,
    manifests: int,
    name: str,
    counted: tuple[Sequence[MarketCounts], DataFrame] | None = None,
) -> Judgement:
    """Return the judgement of conformed rows that carry their reasons.

    Of a large load that was `counted` on the way, its counts and those of its rows that can change a result are enough.

    Raises:
        DataError: an expectation could not be computed, or suite and split count different failures.
    """
    counts, audited = counted or (count_markets(judged, rules), judged)
    received = sum(market.received for market in counts)
    if not received:
        return Judgement(tuple(counts))
    typed = audited.where(F.col("fate") == KEPT).drop(*_NOT_AUDITED)
    outcome = _run(typed, dataset, row_count=received, settings=settings, name=name)
    crash_point("load.in_audit")
    _check_counts(outcome.outcomes, counts, rules, dataset)
    critical = dict[int, str]()
    if outcome.failed_critical:
        critical = _refused_manifests(typed, dataset, counts, settings=settings, manifests=manifests, name=name)
    refused = {
        (market.manifest_no, market.symbol): _why(judged, market, dataset)
        for market in counts
        if market.is_refused(settings.quality)
    }
    for market in counts:
        if market.is_suspect(settings.quality):
            _log.warning("%s; the other rows are loaded", _counted(market))
    warnings = _warnings(outcome, rules)
    for warning in warnings:
        _log.warning("%s: expectation %s failed; the rows are loaded, see %s", dataset.name, warning, outcome.docs)
    return Judgement(tuple(counts), critical, refused, str(outcome.docs), warnings)


def import_audit() -> None:
    """Import what a judgement needs: Great Expectations takes seconds, which a caller may spend beside other work."""
    import spark_jobs.audit.gx_run  # noqa: F401  # for its effect


def _run(typed: DataFrame, dataset: Dataset, *, row_count: int, settings: Settings, name: str) -> SuiteOutcome:
    # Great Expectations takes seconds to import: only a load with rows pays for it.
    from expectations.row_rules import failure_columns
    from expectations.suites import suite_named
    from spark_jobs.audit.gx_run import run_suite

    suite = suite_named(dataset.suite, settings.quality)
    rows = typed.selectExpr("*", *failure_columns(rules_for(dataset, settings.quality)))
    return run_suite(rows, suite, row_count=row_count, settings=settings, name=name)


def _check_counts(
    outcomes: Sequence[Outcome], counts: Sequence[MarketCounts], rules: RuleSet, dataset: Dataset
) -> None:
    """One list of rules, two counts: a difference means that one of them judged other rows."""
    found = {item.name: item.failed_rows or 0 for item in outcomes}
    for rule in rules:
        mine = sum(
            (market.reasons if rule.severity == "reject" else market.flags).get(rule.reason, 0) for market in counts
        )
        if found[rule.name] != mine:
            raise DataError(
                f"{dataset.name}: rule {rule.name} fails {found[rule.name]} rows in suite {dataset.suite}, "
                f"{mine} in the split"
            )


def _refused_manifests(
    typed: DataFrame,
    dataset: Dataset,
    counts: Sequence[MarketCounts],
    *,
    settings: Settings,
    manifests: int,
    name: str,
) -> dict[int, str]:
    """Judge each manifest alone, so that the others go on."""
    refused = dict[int, str]()
    for number in range(manifests):
        received = sum(market.received for market in counts if market.manifest_no == number)
        if not received:
            continue
        rows = typed.where(F.col("manifest_no") == number)
        outcome = _run(rows, dataset, row_count=received, settings=settings, name=f"{name}-{number}")
        if outcome.failed_critical:
            failed = ", ".join(
                f"{item.name}" + (f" ({item.failed_rows} rows)" if item.failed_rows else "")
                for item in outcome.failed_critical
            )
            refused[number] = f"critical expectation failed in suite {dataset.suite}: {failed}; see {outcome.docs}"
    return refused


def _warnings(outcome: SuiteOutcome, rules: RuleSet) -> tuple[str, ...]:
    """Return the failed expectations that nothing else tells of: row rules are counted by market."""
    by_market = {rule.name for rule in rules}
    return tuple(
        item.name
        for item in outcome.outcomes
        if not item.success and item.severity == "warning" and item.name not in by_market
    )


def _why(judged: DataFrame, market: MarketCounts, dataset: Dataset) -> str:
    shown = [
        column
        for column in (*dataset.key, *(c.name for c in dataset.value_columns[:4]))
        if column not in ("exchange", "symbol")
    ]
    rows = sample_rejected(judged, market.manifest_no, market.symbol, shown)
    return f"{_counted(market)}; such as {rows}"


def _counted(market: MarketCounts) -> str:
    reasons = ", ".join(
        f"{reason} {count}" for reason, count in sorted(market.reasons.items(), key=lambda item: -item[1])
    )
    return (
        f"{market.symbol}: {market.rejected:,} of {market.received:,} rows rejected "
        f"({market.rejected_share:.1%}): {reasons}"
    )
