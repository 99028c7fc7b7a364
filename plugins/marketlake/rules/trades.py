"""Row rules of trades (QUA-03, GEN-02)."""

from __future__ import annotations

from marketlake.datasets import TRADES
from marketlake.datasets.trades import TAKER_SIDES, TRADE_KINDS
from marketlake.rules.row_rule import RowRule, all_present


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} in ({', '.join(repr(value) for value in values)})"


TRADES_RULES = (
    RowRule("key_is_complete", all_present(TRADES.key), "missing key", reads=TRADES.key, completeness=True),
    RowRule(
        "event_time_is_present", "event_time is not null", "missing time", reads=("event_time",), completeness=True
    ),
    RowRule("price_is_present", "price is not null", "missing price", reads=("price",), completeness=True),
    RowRule("amount_is_present", "amount is not null", "missing amount", reads=("amount",), completeness=True),
    RowRule("price_is_positive", "price > 0", "negative price", reads=("price",)),
    RowRule("amount_is_positive", "amount > 0", "negative amount", reads=("amount",)),
    RowRule("taker_side_is_known", _one_of("taker_side", TAKER_SIDES), "unknown side", reads=("taker_side",)),
    RowRule("trade_kind_is_known", _one_of("trade_kind", TRADE_KINDS), "unknown kind", reads=("trade_kind",)),
    RowRule(
        "event_time_is_past",
        "event_time <= received_at + interval '1 hour'",
        "in the future",
        reads=("event_time", "received_at"),
    ),
    RowRule("event_time_is_in_history", "event_time >= @instant(2009-01-03)", "before 2009", reads=("event_time",)),
    RowRule("values_are_readable", "unreadable is null", "unreadable value", reads=("unreadable",)),
)
