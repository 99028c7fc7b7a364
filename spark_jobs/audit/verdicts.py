"""Verdicts by market: what was received and rejected of each symbol of each manifest, counted natively (QUA-14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake.rules import RuleSet
from marketlake.settings import Quality
from spark_jobs.bronze.landed_rows import COLLAPSED, KEPT, OPEN, OUTSIDE
from spark_jobs.lib.quality import FLAGS, REASONS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class MarketCounts:
    """Rows of one symbol in one manifest over all timeframes; `reasons` and `flags` count rows by reason.

    `has_repeats`: some key and source came with several different values. `first_received_at` is UTC.
    """

    manifest_no: int
    symbol: str
    received: int
    rejected: int
    flagged: int
    collapsed: int
    outside: int
    still_open: int
    has_repeats: bool
    first_received_at: datetime | None
    reasons: dict[str, int]
    flags: dict[str, int]

    @property
    def rejected_share(self) -> float:
        """Rejected over received rows, a fraction; 0 where none came."""
        return self.rejected / self.received if self.received else 0.0

    def is_refused(self, quality: Quality) -> bool:
        """Whether the market is refused: enough rows to tell, and too many of them rejected."""
        return self.received >= quality.refuse_from_rows and self.rejected_share > quality.refuse_share

    def is_suspect(self, quality: Quality) -> bool:
        """Whether the market is loaded with a warning: some of its rows are rejected, too few to refuse it."""
        is_warned = self.rejected > 0 and self.rejected_share >= quality.warning_share
        return is_warned and not self.is_refused(quality)


def count_markets(judged: DataFrame, rules: RuleSet) -> list[MarketCounts]:
    """Return the counts of every symbol of every manifest, in one pass."""
    is_kept = F.col("fate") == KEPT
    fates = [F.count_if(F.col("fate") == fate).alias(fate) for fate in (KEPT, COLLAPSED, OUTSIDE, OPEN)]
    reasons = [
        F.count_if(is_kept & F.array_contains(column, rule.reason)).alias(f"{column}:{rule.reason}")
        for column, group in ((REASONS, rules.rejecting), (FLAGS, rules.flagging))
        for rule in group
    ]
    counted = judged.groupBy("manifest_no", "symbol").agg(
        *fates,
        *reasons,
        F.count_if(is_kept & (F.size(REASONS) > 0)).alias("rejected"),
        F.count_if(is_kept & (F.size(REASONS) == 0) & (F.size(FLAGS) > 0)).alias("flagged"),
        F.max(F.when(is_kept, F.col("place"))).alias("last_place"),
        F.min(F.when(is_kept, F.unix_micros("received_at"))).alias("first_received_us"),
    )
    return [_counts(row.asDict()) for row in counted.orderBy("manifest_no", "symbol").collect()]


def sample_rejected(judged: DataFrame, manifest_no: int, symbol: str, columns: Sequence[str], count: int = 3) -> str:
    """Return a few rejected rows of a market as text, with their reasons, for the person who has to mend the cause."""
    is_wanted = (F.col("manifest_no") == manifest_no) & (F.col("symbol") == symbol) & (F.size(REASONS) > 0)
    rows = judged.where((F.col("fate") == KEPT) & is_wanted).select(REASONS, *columns).limit(count).collect()
    return "; ".join(
        f"{', '.join(row[REASONS])}: " + " ".join(f"{name}={row[name]}" for name in columns) for row in rows
    )


def _counts(row: dict[str, object]) -> MarketCounts:
    def by_reason(column: str) -> dict[str, int]:
        prefix = f"{column}:"
        named = {key.removeprefix(prefix): _number(row[key]) for key in row if key.startswith(prefix)}
        return {reason: count for reason, count in named.items() if count}

    first = row["first_received_us"]
    return MarketCounts(
        manifest_no=_number(row["manifest_no"]),
        symbol=str(row["symbol"]),
        received=_number(row[KEPT]),
        rejected=_number(row["rejected"]),
        flagged=_number(row["flagged"]),
        collapsed=_number(row[COLLAPSED]),
        outside=_number(row[OUTSIDE]),
        still_open=_number(row[OPEN]),
        has_repeats=_number(row["last_place"] or 0) > 1,
        first_received_at=None if first is None else _EPOCH + timedelta(microseconds=_number(first)),
        reasons=by_reason(REASONS),
        flags=by_reason(FLAGS),
    )


def _number(value: object) -> int:
    return int(str(value))
