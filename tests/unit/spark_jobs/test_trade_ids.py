"""Tests for `spark_jobs.bronze.trade_ids`: equal prints without ids are separate trades, named alike by every page."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_jobs.bronze.trade_ids import with_trade_ids
from tests.recorded_trades import TRADES, captured_trades

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
US = 1_735_819_200_000_000


def trade(**changed: Any) -> dict[str, Any]:
    row = {"event_time": NOON, "price": Decimal("61837.63"), "amount": Decimal("0.02"), "taker_side": "sell"}
    return row | {"trade_kind": "trade", "trade_id": None} | changed


def ids(*rows: dict[str, Any]) -> list[str | None]:
    return with_trade_ids(pa.Table.from_pylist(list(rows), schema=TRADES))["trade_id"].to_pylist()


def without_ids(table: pa.Table) -> pa.Table:
    return table.set_column(TRADES.get_field_index("trade_id"), "trade_id", pa.nulls(len(table), pa.string()))


def test_the_identity_is_the_print_and_its_place_among_equals() -> None:
    assert ids(trade(), trade(), trade(taker_side="buy"), trade()) == [
        f"{US}-61837.63-0.02-sell-0", f"{US}-61837.63-0.02-sell-1",
        f"{US}-61837.63-0.02-buy-0", f"{US}-61837.63-0.02-sell-2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.00000001", "0.00000001"), ("0.000000000001", "0.000000000001"), ("100", "100"), ("0", "0"),
        ("1200.50", "1200.5"), ("9999999999999999.999999999999", "9999999999999999.999999999999"), ("-0.5", "-0.5"),
    ],
)  # fmt: skip
def test_decimals_are_plain_and_without_zeros_at_their_end(value: str, text: str) -> None:
    assert ids(trade(price=Decimal(value), amount=Decimal(value))) == [f"{US}-{text}-{text}-sell-0"]


def test_each_of_the_four_values_tells_trades_apart() -> None:
    others = [
        {"event_time": NOON.replace(microsecond=1)}, {"price": Decimal(1)}, {"amount": Decimal(1)},
        {"taker_side": "buy"},
    ]  # fmt: skip
    assert {one.rsplit("-", 1)[1] for one in ids(trade(), *(trade(**one) for one in others)) if one} == {"0"}


def test_a_trade_with_an_id_keeps_it_and_is_not_counted() -> None:
    assert ids(trade(trade_id="77"), trade()) == ["77", f"{US}-61837.63-0.02-sell-0"]
    assert ids(trade(trade_id="77"), trade(trade_id="78")) == ["77", "78"]


@pytest.mark.parametrize("name", ["event_time", "price", "amount", "taker_side"])
def test_a_trade_that_lacks_a_value_has_no_identity(name: str) -> None:
    assert ids(trade(**{name: None}), trade(**{name: None}), trade()) == [None, None, f"{US}-61837.63-0.02-sell-0"]


def test_a_page_without_trades_stays_empty() -> None:
    assert with_trade_ids(TRADES.empty_table()).schema == TRADES


def test_only_the_ids_change() -> None:
    page = pa.Table.from_pylist([trade(), trade(trade_id="7")], schema=TRADES)
    assert with_trade_ids(page).drop_columns("trade_id").equals(page.drop_columns("trade_id"))
    assert with_trade_ids(page).schema == page.schema


def test_a_page_cut_out_of_a_longer_table_is_read_at_its_place() -> None:
    table = pa.Table.from_pylist([trade(price=Decimal(one)) for one in range(1, 5)], schema=TRADES)
    assert with_trade_ids(table.slice(1, 2))["trade_id"].to_pylist() == [f"{US}-2-0.02-sell-0", f"{US}-3-0.02-sell-0"]


class TestTheCapture:
    """9,757 trades of BTC/USDT in six minutes, among them many equal prints."""

    @pytest.fixture(scope="class")
    def trades(self, recorded_data: Path) -> pa.Table:
        return captured_trades(recorded_data, "20240808")

    def test_every_trade_has_an_identity_of_its_own(self, trades: pa.Table) -> None:
        named = with_trade_ids(without_ids(trades))["trade_id"].to_pylist()
        assert len(named) == len(set(named)) == 9_757
        assert None not in named

    def test_time_price_and_amount_alone_would_lose_trades(self, trades: pa.Table) -> None:
        keys = set(zip(*(trades[name].to_pylist() for name in ("event_time", "price", "amount")), strict=True))
        assert trades.num_rows - len(keys) == 1_417

    def test_overlapping_pages_name_the_same_trades_alike(self, trades: pa.Table) -> None:
        times = trades["event_time"].to_pylist()
        # A page begins with the first trade of an instant and ends with the last of one.
        edges = [row for row in range(1, len(times)) if times[row] != times[row - 1]]
        whole = with_trade_ids(without_ids(trades))["trade_id"].to_pylist()
        first, second = (edges[0], edges[len(edges) * 2 // 3]), (edges[len(edges) // 3], edges[-1])
        for start, end in (first, second):
            page = without_ids(trades).slice(start, end - start)
            assert with_trade_ids(page)["trade_id"].to_pylist() == whole[start:end]
        assert second[0] < first[1]

    def test_pages_that_split_an_instant_do_not(self, trades: pa.Table) -> None:
        whole = with_trade_ids(without_ids(trades))["trade_id"].to_pylist()
        row = next(place for place, one in enumerate(whole) if one.endswith("-1"))
        assert with_trade_ids(without_ids(trades).slice(row))["trade_id"][0].as_py() != whole[row]
