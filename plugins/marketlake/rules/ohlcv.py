"""Row rules of candles (QUA-02, QUA-04, GEN-02)."""

from __future__ import annotations

import re
from decimal import Decimal

from marketlake.datasets import OHLCV
from marketlake.errors import ConfigError
from marketlake.instants import parse_instant, to_epoch_us
from marketlake.rules.row_rule import RowRule, all_present
from marketlake.settings import PriceBound

PRICES = ("open", "high", "low", "close")
# Quote assets worth about a unit of ordinary money; a price in any other has no sensible bounds.
MONEY = (
    *("USD", "EUR", "GBP", "AUD", "CAD", "CHF", "TRY", "BRL", "PLN", "UAH", "ZAR", "MXN", "SGD"),
    *("USDT", "USDC", "BUSD", "TUSD", "FDUSD", "USDP", "DAI", "USD1", "EURI"),
)
_SYMBOL = re.compile(r"[A-Za-z0-9/:._-]{1,64}")

_QUOTE = "split_part(split_part(symbol, '/', 2), ':', 1)"
_IS_MONEY = f"{_QUOTE} in ({', '.join(repr(asset) for asset in MONEY)})"
_LOWEST, _HIGHEST = "least(open, high, low, close)", "greatest(open, high, low, close)"

OHLCV_RULES = (
    RowRule("key_is_complete", all_present(OHLCV.key), "missing key", reads=OHLCV.key, completeness=True),
    # greatest() and least() skip nulls: without this rule a missing price would pass the ones below.
    RowRule("prices_are_complete", all_present(PRICES), "missing price", reads=PRICES, completeness=True),
    RowRule("high_is_not_below_low", "high >= low", "high < low", reads=("high", "low")),
    RowRule("close_is_in_range", "close between low and high", "close not in range", reads=("close", "low", "high")),
    RowRule("open_is_in_range", "open between low and high", "open not in range", reads=("open", "low", "high")),
    RowRule("price_is_positive", f"{_LOWEST} > 0", "negative price", reads=PRICES),
    RowRule("volume_is_not_negative", "volume >= 0", "negative volume", reads=("volume",)),
    RowRule("open_time_is_on_the_grid", "@on_grid(open_time, timeframe)", "off grid", reads=("open_time", "timeframe")),
    RowRule(
        "open_time_is_past",
        "open_time <= received_at + interval '1 hour'",
        "in the future",
        reads=("open_time", "received_at"),
    ),
    RowRule("open_time_is_in_history", "open_time >= @instant(2009-01-03)", "before 2009", reads=("open_time",)),
    RowRule("values_are_readable", "unreadable is null", "unreadable value", reads=("unreadable",)),
    RowRule(
        "price_is_plausible",
        f"not ({_IS_MONEY}) or ({_LOWEST} > 0.0001 and {_HIGHEST} < 1000000)",
        "price out of bounds",
        reads=("symbol", *PRICES),
        severity="flag",
    ),
)


def ohlcv_rules(bounds: tuple[PriceBound, ...]) -> tuple[RowRule, ...]:
    """Return the rules of candles with the bounds of single symbols, outside of which a row is rejected.

    Raises:
        ConfigError: a bound's symbol or instants are unreadable, or its low is not below its high.
    """
    if not bounds:
        return OHLCV_RULES
    cases = " ".join(_bound_sql(bound) for bound in bounds)
    within = RowRule(
        "price_is_within_the_symbols_bounds",
        f"case {cases} else true end",
        "price out of bounds",
        reads=("symbol", "open_time", *PRICES),
    )
    return (*OHLCV_RULES, within)


def _bound_sql(bound: PriceBound) -> str:
    if not _SYMBOL.fullmatch(bound.symbol):
        raise ConfigError(f"quality.price_bounds: symbol must look like BTC/USDT; was {bound.symbol!r}")
    if bound.low >= bound.high:
        raise ConfigError(
            f"quality.price_bounds of {bound.symbol}: low must be below high; were {bound.low} and {bound.high}"
        )
    valid = [f"symbol = '{bound.symbol}'"]
    for operator, text in ((">=", bound.valid_from), ("<", bound.valid_to)):
        if text is not None:
            instant = parse_instant(text, what=f"quality.price_bounds of {bound.symbol}")
            valid.append(f"@epoch_us(open_time) {operator} {to_epoch_us(instant)}")
    return f"when {' and '.join(valid)} then {_LOWEST} > {_plain(bound.low)} and {_HIGHEST} < {_plain(bound.high)}"


def _plain(number: float) -> str:
    return f"{Decimal(str(number)):f}"
