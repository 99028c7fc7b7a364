"""ING-31: Coinbase's recorded product list parses completely."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from marketlake.errors import DataError
from marketlake.exchanges import coinbase


def test_every_recorded_product_is_an_instrument(recorded_data: Path) -> None:
    path = recorded_data / "rest" / "coinbase" / "api_v3_brokerage_market_products.json.gz"

    listed = coinbase.instruments_of(json.loads(gzip.decompress(path.read_bytes())))

    assert len({i.symbol for i in listed}) == len(listed) == 920
    assert all(i.price_tick and i.amount_step for i in listed)
    bitcoin = listed[0]
    assert (bitcoin.symbol, bitcoin.exchange_symbol) == ("BTC/USD", "BTC-USD")
    assert (bitcoin.amount_step, bitcoin.listed_at) == (Decimal("0.00000001"), datetime(2023, 1, 1, tzinfo=UTC))


def test_a_refusal_and_a_damaged_product_are_named() -> None:
    with pytest.raises(DataError, match="holds no products"):
        coinbase.instruments_of({"error": "PERMISSION_DENIED"})
    with pytest.raises(DataError, match="'base_currency_id'"):
        coinbase.instruments_of({"products": [{"product_type": "SPOT"}]})
