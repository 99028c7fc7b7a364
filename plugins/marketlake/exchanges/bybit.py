"""Bybit's instrument list → instruments. Only the list is read so far; there is no client yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from marketlake.errors import DataError
from marketlake.instants import from_epoch_ms
from marketlake.work import Instrument

EXCHANGE = "bybit"
_MINUTES_AN_HOUR = 60


def instruments_of(tree: Mapping[str, Any]) -> list[Instrument]:
    """Return the markets of `/v5/market/instruments-info`: spot, linear and inverse, perpetual and dated.

    Raises:
        DataError: the answer is a refusal, or a market lacks a field.
    """
    result = tree.get("result") or {}
    if tree.get("retCode") != 0 or not isinstance(result.get("list"), list):
        raise DataError(f"bybit's instrument list is a refusal: {str(tree)[:200]}")
    read = _spot if result.get("category") == "spot" else _contract
    try:
        return [read(item) for item in result["list"]]
    except (KeyError, ValueError, InvalidOperation) as error:
        raise DataError(f"bybit lists a market whose {error} is missing or unreadable") from None


def _spot(item: Mapping[str, Any]) -> Instrument:
    return Instrument(
        exchange=EXCHANGE,
        symbol=f"{item['baseCoin']}/{item['quoteCoin']}",
        exchange_symbol=item["symbol"],
        market_type="spot",
        base_asset=item["baseCoin"],
        quote_asset=item["quoteCoin"],
        price_tick=Decimal(item["priceFilter"]["tickSize"]),
        amount_step=Decimal(item["lotSizeFilter"]["basePrecision"]),
    )


def _contract(item: Mapping[str, Any]) -> Instrument:
    base, quote, settle = item["baseCoin"], item["quoteCoin"], item["settleCoin"]
    delivery = _instant(item["deliveryTime"])
    is_perpetual = item["contractType"].endswith("Perpetual")
    suffix = "" if is_perpetual or delivery is None else f"-{delivery:%y%m%d}"
    return Instrument(
        exchange=EXCHANGE,
        symbol=f"{base}/{quote}:{settle}{suffix}",
        exchange_symbol=item["symbol"],
        market_type="perpetual" if is_perpetual else "future",
        base_asset=base,
        quote_asset=quote,
        margin_asset=settle,
        price_tick=Decimal(item["priceFilter"]["tickSize"]),
        amount_step=Decimal(item["lotSizeFilter"]["qtyStep"]),
        contract_multiplier=Decimal(1),
        funding_interval_hours=_hours(item["fundingInterval"]) if is_perpetual else None,
        listed_at=_instant(item["launchTime"]),
        delisted_at=delivery,
    )


def _hours(minutes: int) -> int | None:
    return minutes // _MINUTES_AN_HOUR if minutes and minutes % _MINUTES_AN_HOUR == 0 else None


def _instant(milliseconds: str) -> datetime | None:
    return from_epoch_ms(int(milliseconds)) if int(milliseconds) else None
