"""Rows that pass or fail each rule, for every engine that judges rows: one good row each, and what to change in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marketlake.datasets import FUNDING_RATES, OHLCV, TRADES, Dataset


@dataclass(frozen=True)
class RuleCase:
    """A change of the good row and the reasons and flags that follow from it."""

    name: str
    change: Mapping[str, Any]
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


GOOD_CANDLE: dict[str, Any] = {
    "exchange": "binance",
    "symbol": "BTC/USDT",
    "timeframe": "1h",
    "open_time": datetime(2024, 1, 1, tzinfo=UTC),
    "received_at": datetime(2024, 1, 2, tzinfo=UTC),
    "open": Decimal("100000"),
    "high": Decimal("110000"),
    "low": Decimal("90000"),
    "close": Decimal("105000"),
    "volume": Decimal("1"),
    "unreadable": None,
}
GOOD_EVENT: dict[str, Any] = {
    "exchange": "binance",
    "symbol": "BTC/USDT:USDT",
    "funding_time": datetime(2024, 1, 1, 8, tzinfo=UTC),
    "funding_time_raw": datetime(2024, 1, 1, 8, 0, 0, 31_000, tzinfo=UTC),
    "received_at": datetime(2024, 1, 2, tzinfo=UTC),
    "funding_rate": Decimal("0.0001"),
    "unreadable": None,
}
GOOD_TRADE: dict[str, Any] = {
    "exchange": "binance",
    "symbol": "BTC/USDT",
    "trade_kind": "agg",
    "trade_id": "26129",
    "event_time": datetime(2024, 1, 1, 8, 0, 0, 123_456, tzinfo=UTC),
    "received_at": datetime(2024, 1, 2, tzinfo=UTC),
    "price": Decimal("42000.01"),
    "amount": Decimal("0.00001"),
    "taker_side": "sell",
    "unreadable": None,
}
NO_PRICES = dict.fromkeys(("open", "high", "low", "close"))


def _all_prices(price: str, **more: Any) -> dict[str, Any]:
    return {**dict.fromkeys(NO_PRICES, Decimal(price)), **more}


CANDLE_CASES = (
    RuleCase("a good candle", {}),
    RuleCase("no volume traded", {"volume": Decimal(0)}),
    RuleCase("no symbol", {"symbol": None}, ("missing key",)),
    RuleCase("no open time silences what reads it", {"open_time": None}, ("missing key",)),
    RuleCase("one price missing", {"close": None}, ("missing price",)),
    RuleCase("no price at all has one reason", NO_PRICES, ("missing price",)),
    RuleCase("high below close", {"high": Decimal("104000")}, ("close not in range",)),
    RuleCase("low above open", {"low": Decimal("100001")}, ("open not in range",)),
    RuleCase(
        "high below low",
        {"high": Decimal("80000")},
        ("high < low", "close not in range", "open not in range"),
    ),
    RuleCase("a price of zero", _all_prices("0", symbol="A/BTC"), ("negative price",)),
    RuleCase("a negative price", {"low": Decimal("-1"), "symbol": "A/BTC"}, ("negative price",)),
    RuleCase("negative volume", {"volume": Decimal("-0.000000000001")}, ("negative volume",)),
    RuleCase("no volume given", {"volume": None}, ("negative volume",)),
    RuleCase("a minute past the hour", {"open_time": datetime(2024, 1, 1, 0, 1, tzinfo=UTC)}, ("off grid",)),
    RuleCase("a microsecond past the hour", {"open_time": datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)}, ("off grid",)),
    RuleCase("a timeframe nobody knows", {"timeframe": "7q"}, ("off grid",)),
    RuleCase("two hours is a grid", {"timeframe": "2h"}),
    RuleCase("an hour ahead is allowed", {"open_time": datetime(2024, 1, 2, 1, tzinfo=UTC)}),
    RuleCase("two hours ahead", {"open_time": datetime(2024, 1, 2, 2, tzinfo=UTC)}, ("in the future",)),
    RuleCase("before the first market", {"open_time": datetime(2009, 1, 2, tzinfo=UTC)}, ("before 2009",)),
    RuleCase("an unreadable optional value", {"unreadable": "quote_volume"}, ("unreadable value",)),
    RuleCase("outside the symbol's own bounds", {"high": Decimal("200000")}, ("price out of bounds",)),
    RuleCase(
        "outside the symbol's own bounds before they hold",
        {**_all_prices("500"), "open_time": datetime(2017, 12, 31, 23, tzinfo=UTC)},
    ),
    RuleCase("a dollar price too small", _all_prices("0.0001", symbol="SHIB/USDT"), (), ("price out of bounds",)),
    RuleCase("a dollar price too big", _all_prices("1000000", symbol="BTC/TRY"), (), ("price out of bounds",)),
    RuleCase(
        "a perpetual's quote counts too", _all_prices("0.00001", symbol="X/USDT:USDT"), (), ("price out of bounds",)
    ),
    RuleCase("a small price in bitcoin", _all_prices("0.00000001", symbol="TRX/BTC")),
)
EVENT_CASES = (
    RuleCase("a good event", {}),
    RuleCase("no time", {"funding_time": None, "funding_time_raw": None}, ("missing key",)),
    RuleCase("no rate has one reason", {"funding_rate": None}, ("missing rate",)),
    RuleCase("a negative rate", {"funding_rate": Decimal("-0.03")}),
    RuleCase("a rate too big", {"funding_rate": Decimal("0.030000000001")}, (), ("rate out of bounds",)),
    RuleCase("a rate too low", {"funding_rate": Decimal("-0.04")}, (), ("rate out of bounds",)),
    RuleCase("a minute early", {"funding_time_raw": datetime(2024, 1, 1, 7, 59, tzinfo=UTC)}),
    RuleCase(
        "an hour and a minute",
        {"funding_time_raw": datetime(2024, 1, 1, 8, 1, 0, 1, tzinfo=UTC)},
        ("not at a full hour",),
    ),
    RuleCase("half past", {"funding_time_raw": datetime(2024, 1, 1, 8, 30, tzinfo=UTC)}, ("not at a full hour",)),
    RuleCase(
        "in the future",
        {"funding_time": datetime(2024, 1, 2, 8, tzinfo=UTC), "funding_time_raw": datetime(2024, 1, 2, 8, tzinfo=UTC)},
        ("in the future",),
    ),
    RuleCase(
        "before the first market",
        {"funding_time": datetime(2009, 1, 2, tzinfo=UTC), "funding_time_raw": datetime(2009, 1, 2, tzinfo=UTC)},
        ("before 2009",),
    ),
    RuleCase("an unreadable mark price", {"unreadable": "mark_price"}, ("unreadable value",)),
)
TRADE_CASES = (
    RuleCase("a good trade", {}),
    RuleCase("a single trade", {"trade_kind": "trade", "taker_side": "buy"}),
    RuleCase("no id", {"trade_id": None}, ("missing key",)),
    RuleCase("no time", {"event_time": None}, ("missing time",)),
    RuleCase("no price has one reason", {"price": None}, ("missing price",)),
    RuleCase("no amount has one reason", {"amount": None}, ("missing amount",)),
    RuleCase("a price of zero", {"price": Decimal(0)}, ("negative price",)),
    RuleCase("an amount of zero", {"amount": Decimal(0)}, ("negative amount",)),
    RuleCase("no side", {"taker_side": None}, ("unknown side",)),
    RuleCase("another side", {"taker_side": "bid"}, ("unknown side",)),
    RuleCase("another kind", {"trade_kind": "block"}, ("unknown kind",)),
    RuleCase("an hour ahead is allowed", {"event_time": datetime(2024, 1, 2, 1, tzinfo=UTC)}),
    RuleCase("two hours ahead", {"event_time": datetime(2024, 1, 2, 2, tzinfo=UTC)}, ("in the future",)),
    RuleCase("before the first market", {"event_time": datetime(2009, 1, 2, tzinfo=UTC)}, ("before 2009",)),
    RuleCase("an unreadable optional value", {"unreadable": "is_best_match"}, ("unreadable value",)),
)
CASES: tuple[tuple[Dataset, dict[str, Any], RuleCase], ...] = (
    *((OHLCV, GOOD_CANDLE, case) for case in CANDLE_CASES),
    *((FUNDING_RATES, GOOD_EVENT, case) for case in EVENT_CASES),
    *((TRADES, GOOD_TRADE, case) for case in TRADE_CASES),
)


def column_types(good: Mapping[str, Any]) -> dict[str, str]:
    """Return the kind of each column of the good row: text, instant or decimal."""
    kinds = {str: "text", type(None): "text", datetime: "instant", Decimal: "decimal"}
    return {name: kinds[type(value)] for name, value in good.items()}
