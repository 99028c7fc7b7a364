"""ING-31: Bybit's recorded lists parse completely."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketlake.errors import DataError
from marketlake.exchanges import bybit


def recorded(folder: Path, category: str) -> Any:
    name = f"v5_market_instruments_info_category_{category}_status_Trading_limit_1000.json.gz"
    return json.loads(gzip.decompress((folder / "rest" / "bybit" / name).read_bytes()))


def test_every_recorded_contract_is_an_instrument(recorded_data: Path) -> None:
    listed = bybit.instruments_of(recorded(recorded_data, "linear"))

    assert Counter(i.market_type for i in listed) == {"perpetual": 760, "future": 40}
    assert Counter(i.funding_interval_hours for i in listed) == {4: 407, 8: 352, 1: 1, None: 40}
    assert len({i.symbol for i in listed}) == 800
    dated = next(i for i in listed if i.exchange_symbol == "BTCUSDT-14AUG26")
    assert (dated.symbol, dated.price_tick) == ("BTC/USDT:USDT-260814", Decimal("0.1"))
    assert dated.delisted_at == datetime(2026, 8, 14, 8, tzinfo=UTC)


def test_every_recorded_spot_market_is_an_instrument(recorded_data: Path) -> None:
    listed = bybit.instruments_of(recorded(recorded_data, "spot"))

    assert len({i.symbol for i in listed}) == 557
    assert all(i.price_tick and i.amount_step for i in listed)


def test_a_refusal_and_a_damaged_market_are_named() -> None:
    with pytest.raises(DataError, match="refusal.*10006"):
        bybit.instruments_of({"retCode": 10006, "retMsg": "Too many visits!"})
    with pytest.raises(DataError, match="'symbol'|'baseCoin'"):
        bybit.instruments_of({"retCode": 0, "result": {"category": "spot", "list": [{}]}})
