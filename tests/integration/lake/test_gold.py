"""Marts out of Postgres by the reader's role."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from marketlake import Lake, ledger
from marketlake.errors import UnknownNameError
from marketlake.settings import load_settings
from tests.lakes import candle, commit

DAY = datetime(2025, 1, 30, tzinfo=UTC)


@pytest.fixture
def lake(postgres, home) -> Lake:
    commit(home / "delta_lake", [candle(DAY)])
    with ledger.connect(load_settings()) as connection:
        connection.execute(
            "create table gold.mart_example (symbol text, day date, at timestamptz, close numeric, ret float8,"
            " n bigint, is_open boolean, note text)"
        )
        connection.execute(
            "insert into gold.mart_example values"
            " ('BTC/USDT', '2025-01-30', '2025-01-30T06:00Z', 0.1000000000000000055, 0.1, 7, true, null),"
            " ('ETH/USDT', '2025-01-30', '2025-01-30T06:00Z', null, null, null, null, null)"
        )
        connection.execute(f"grant select on gold.mart_example to {ledger.database.READER_ROLE}")
        connection.execute("create table gold.kept_to_itself (a int)")
        connection.execute(f"revoke all on gold.kept_to_itself from {ledger.database.READER_ROLE}")
    return Lake(home)


def test_a_mart_comes_typed_with_numbers_as_doubles(lake):
    table = lake.mart("mart_example")
    assert table.schema.field("close").type == pa.float64()
    assert table.to_pylist()[0] == {
        "symbol": "BTC/USDT", "day": date(2025, 1, 30), "at": datetime(2025, 1, 30, 6, tzinfo=UTC),
        "close": 0.1, "ret": 0.1, "n": 7, "is_open": True, "note": None,
    }  # fmt: skip
    assert table.to_pylist()[1]["close"] is None


def test_exact_values_keep_every_digit(lake):
    assert lake.mart("mart_example", exact=True)["close"][0].as_py() == Decimal("0.1000000000000000055")


def test_an_empty_mart_keeps_its_columns(lake):
    with ledger.connect(load_settings()) as connection:
        connection.execute("truncate gold.mart_example")
    table = lake.mart("mart_example")
    assert (len(table), table.schema.field("at").type) == (0, pa.timestamp("us", tz="UTC"))


def test_an_unknown_mart_is_answered_with_those_that_may_be_read(lake):
    with pytest.raises(UnknownNameError, match=r"mart must be one of mart_example; was 'mart_exmaple'"):
        lake.mart("mart_exmaple")


def test_a_name_is_never_taken_for_sql(lake):
    with pytest.raises(UnknownNameError):
        lake.mart('mart_example"; drop table gold.mart_example; --')


def test_pandas_and_polars_work_too(lake):
    assert list(lake.mart("mart_example", format="pandas")["symbol"]) == ["BTC/USDT", "ETH/USDT"]
    assert lake.mart("mart_example", format="polars").height == 2
