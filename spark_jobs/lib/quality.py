"""The split: which rules each row fails, found in one native pass over the frame."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake.rules import Dialect, RuleSet

REASONS, FLAGS = "dlq_reasons", "flag_reasons"


def with_reasons(rows: DataFrame, rules: RuleSet) -> DataFrame:
    """Return the rows with `dlq_reasons` and `flag_reasons`, arrays of text; both are empty for a good row."""
    return rows.select(
        "*",
        F.expr(rules.reasons_sql(rules.rejecting, Dialect.SPARK)).alias(REASONS),
        F.expr(rules.reasons_sql(rules.flagging, Dialect.SPARK)).alias(FLAGS),
    )


def split_by_rules(rows: DataFrame, rules: RuleSet) -> tuple[DataFrame, DataFrame]:
    """Return the accepted and the rejected rows, both with their reasons."""
    judged = rows if REASONS in rows.columns else with_reasons(rows, rules)
    is_rejected = F.size(REASONS) > 0
    return judged.where(~is_rejected), judged.where(is_rejected)
