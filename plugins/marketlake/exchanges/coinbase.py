"""Coinbase's product list → instruments. Only the list is read so far; there is no client yet."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from marketlake.errors import DataError
from marketlake.instants import parse_instant
from marketlake.work import Instrument

EXCHANGE = "coinbase"


def instruments_of(tree: Mapping[str, Any]) -> list[Instrument]:
    """Return the spot markets of `/api/v3/brokerage/market/products`, delisted ones included.

    Raises:
        DataError: the answer holds no products, or a product lacks a field.
    """
    products = tree.get("products")
    if not isinstance(products, list) or not products:
        raise DataError(f"coinbase's product list holds no products: {str(tree)[:200]}")
    try:
        return [_spot(item) for item in products if item["product_type"] == "SPOT"]
    except (KeyError, ValueError, InvalidOperation) as error:
        raise DataError(f"coinbase lists a product whose {error} is missing or unreadable") from None


def _spot(item: Mapping[str, Any]) -> Instrument:
    return Instrument(
        exchange=EXCHANGE,
        symbol=f"{item['base_currency_id']}/{item['quote_currency_id']}",
        exchange_symbol=item["product_id"],
        market_type="spot",
        base_asset=item["base_currency_id"],
        quote_asset=item["quote_currency_id"],
        price_tick=Decimal(item["price_increment"]),
        amount_step=Decimal(item["base_increment"]),
        listed_at=parse_instant(item["new_at"]) if item.get("new_at") else None,
    )
