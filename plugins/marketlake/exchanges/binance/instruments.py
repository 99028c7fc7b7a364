"""Binance's `exchangeInfo` → instruments and the published request limit; symbols named as ccxt names them.

ccxt gives ticks and steps as floats and takes 1.5 s to import, so the texts are read here; a test compares every symbol
of the recorded lists with ccxt's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from marketlake.errors import DataError
from marketlake.instants import from_epoch_ms
from marketlake.work import Instrument

EXCHANGE = "binance"
# Perpetuals carry this delivery date (2100-12-25) until they are delisted; some have no contractType.
_NEVER_MS = 4133404800000
# ccxt's names of the assets that Binance calls otherwise.
_ASSET_NAMES = {"XBT": "BTC", "BCHSV": "BSV", "YOYO": "YOYOW"}


def spot_instruments(tree: Any) -> list[Instrument]:
    """Return the markets of spot's `exchangeInfo`; spot states no listing dates.

    Raises:
        DataError: the list or one of its markets lacks a field.
    """
    return _unique(_spot(item) for item in _symbols(tree))


def futures_instruments(tree: Any) -> list[Instrument]:
    """Return the markets of USD-M's or COIN-M's `exchangeInfo`: perpetuals and dated futures.

    Raises:
        DataError: the list or one of its markets lacks a field.
    """
    return _unique(_future(item) for item in _symbols(tree))


def weight_limit(tree: Any) -> int | None:
    """Return the request weight allowed per minute, as `exchangeInfo` publishes it; None if it does not."""
    for limit in tree.get("rateLimits", []):
        if limit.get("rateLimitType") == "REQUEST_WEIGHT" and limit.get("interval") == "MINUTE":
            return int(limit["limit"]) // int(limit.get("intervalNum", 1))
    return None


def read_exchange_info(text: str) -> Any:
    """Return the parsed list.

    Raises:
        ValueError: the text is no JSON object with symbols.
    """
    tree = json.loads(text)
    if not isinstance(tree, dict) or not isinstance(tree.get("symbols"), list):
        raise ValueError("no list of symbols")
    return tree


def _symbols(tree: Any) -> list[dict[str, Any]]:
    symbols = tree.get("symbols") if isinstance(tree, dict) else None
    if not isinstance(symbols, list) or not symbols:
        raise DataError("binance's exchangeInfo holds no symbols; nothing of it is taken over")
    return symbols


def _spot(item: dict[str, Any]) -> Instrument:
    exchange_symbol, base, quote = _names(item, "baseAsset", "quoteAsset")
    return Instrument(
        exchange=EXCHANGE,
        symbol=f"{base}/{quote}",
        exchange_symbol=exchange_symbol,
        market_type="spot",
        base_asset=base,
        quote_asset=quote,
        price_tick=_filter(item, "PRICE_FILTER", "tickSize"),
        amount_step=_filter(item, "LOT_SIZE", "stepSize"),
    )


def _future(item: dict[str, Any]) -> Instrument:
    exchange_symbol, base, quote, margin = _names(item, "baseAsset", "quoteAsset", "marginAsset")
    delivery_ms = int(item.get("deliveryDate") or _NEVER_MS)
    is_perpetual = "PERPETUAL" in str(item.get("contractType")) or delivery_ms == _NEVER_MS
    delivery = None if delivery_ms == _NEVER_MS else from_epoch_ms(delivery_ms)
    suffix = "" if is_perpetual or delivery is None else f"-{delivery.astimezone(UTC):%y%m%d}"
    return Instrument(
        exchange=EXCHANGE,
        symbol=f"{base}/{quote}:{margin}{suffix}",
        exchange_symbol=exchange_symbol,
        market_type="perpetual" if is_perpetual else "future",
        base_asset=base,
        quote_asset=quote,
        margin_asset=margin,
        price_tick=_filter(item, "PRICE_FILTER", "tickSize"),
        amount_step=_filter(item, "LOT_SIZE", "stepSize"),
        contract_multiplier=_decimal(str(item.get("contractSize", 1))),
        listed_at=_instant(item.get("onboardDate")),
        delisted_at=delivery,
    )


def _names(item: dict[str, Any], *asset_keys: str) -> list[str]:
    """Return the exchange's symbol and the assets' unified names."""
    values = [item.get(key) for key in ("symbol", *asset_keys)]
    missing = [key for key, value in zip(("symbol", *asset_keys), values, strict=True) if not value]
    if missing:
        raise DataError(f"binance lists a market without {', '.join(missing)}: {str(item)[:200]}")
    return [str(values[0]), *(_ASSET_NAMES.get(str(value), str(value)) for value in values[1:])]


def _filter(item: dict[str, Any], kind: str, key: str) -> Decimal | None:
    for entry in item.get("filters", []):
        if entry.get("filterType") == kind and key in entry:
            value = _decimal(entry[key])
            return value if value else None
    return None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text).normalize() + 0
    except InvalidOperation:
        raise DataError(f"binance lists {text!r} where a number is expected") from None


def _instant(milliseconds: Any) -> datetime | None:
    return from_epoch_ms(int(milliseconds)) if milliseconds else None


def _unique(instruments: Iterable[Instrument]) -> list[Instrument]:
    # The newest of two markets with one unified name wins: a delisted one may have been listed again.
    by_symbol = dict[str, Instrument]()
    for instrument in instruments:
        held = by_symbol.get(instrument.symbol)
        if held is None or (held.delisted_at is not None and instrument.delisted_at is None):
            by_symbol[instrument.symbol] = instrument
    return list(by_symbol.values())
