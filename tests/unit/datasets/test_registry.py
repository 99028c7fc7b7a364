"""Tests for ``marketlake.datasets``: what the registry declares must fit together."""

from __future__ import annotations

import duckdb
import pytest

from marketlake.datasets import DATASETS, FUNDING_RATES, OHLCV, TRADES, ColumnType, Dataset, dataset_named
from marketlake.datasets.current import current_rows_sql
from marketlake.errors import UnknownNameError

# `partition_asset_pair` stays as users know it; "interval" is the funding interval's word.
ALLOWED = {"pair", "interval"}
each_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)


@each_dataset
def test_keys_partitions_and_order_are_columns(dataset: Dataset) -> None:
    names = set(dataset.column_names)
    assert len(names) == len(dataset.columns)
    assert {*dataset.key, dataset.time_column, *dataset.partitioned_by, *dataset.sorted_by} <= names
    assert {"partition_date", "partition_asset_pair"} <= names


@each_dataset
def test_keys_and_provenance_stay_out_of_the_digest(dataset: Dataset) -> None:
    values = {column.name for column in dataset.value_columns}
    assert values
    assert not values & {*dataset.key, "source", "source_ref", "load_id", "received_at", "known_at", "revision"}


@each_dataset
def test_every_column_is_described(dataset: Dataset) -> None:
    assert all(column.doc.endswith(".") for column in dataset.columns)


CANDLE_COLUMNS = (
    "exchange, market_type, symbol, exchange_symbol, timeframe, open_time, close_time, open, high, low, close, volume,"
    " quote_volume?, trade_count?, taker_buy_volume?, taker_buy_quote_volume?, reported_close_time?, source,"
    " source_ref, revision, is_retracted, digest, load_id, received_at, known_at, partition_date,"
    " partition_asset_pair, partition_month"
)
FUNDING_COLUMNS = (
    "exchange, market_type, symbol, exchange_symbol, funding_time, funding_time_raw, funding_interval_hours?,"
    " funding_rate, mark_price?, source, source_ref, revision, is_retracted, digest, load_id, received_at, known_at,"
    " partition_date, partition_asset_pair"
)


@pytest.mark.parametrize(("dataset", "columns"), [(OHLCV, CANDLE_COLUMNS), (FUNDING_RATES, FUNDING_COLUMNS)])
def test_a_dataset_has_its_columns_and_only_some_may_be_null(dataset: Dataset, columns: str) -> None:
    found = [f"{column.name}{'?' if column.is_nullable else ''}" for column in dataset.columns]

    assert sorted(found) == sorted(columns.split(", "))


@each_dataset
def test_prices_and_amounts_are_exact_in_every_engine(dataset: Dataset) -> None:
    exact = [column for column in dataset.columns if column.type is ColumnType.DECIMAL]

    assert exact
    assert {(column.spark_type, column.postgres_type) for column in exact} == {("decimal(28,12)", "numeric")}
    assert not [column.name for column in dataset.columns if column.type is ColumnType.DOUBLE]


def test_keys_tables_and_partitions_are_those_that_users_know() -> None:
    assert OHLCV.key == ("exchange", "symbol", "timeframe", "open_time")
    assert FUNDING_RATES.key == ("exchange", "symbol", "funding_time")
    assert list(OHLCV.views) == [f"raw_market_data_{timeframe}" for timeframe in ("1m", "5m", "15m", "1h", "4h", "1d")]
    assert list(FUNDING_RATES.views) == ["raw_funding_rates"]
    assert list(TRADES.views) == ["raw_trades"]
    assert {dataset.dlq_table for dataset in DATASETS.values()} == {
        "bronze.ohlcv_dlq",
        "bronze.funding_rates_dlq",
        "bronze.trades_dlq",
    }
    assert TRADES.key == ("exchange", "symbol", "trade_kind", "trade_id")
    assert TRADES.partitioned_by == ("exchange", "partition_date")
    assert OHLCV.partitioned_by == ("exchange", "timeframe", "partition_month")
    assert FUNDING_RATES.partitioned_by == ("exchange",)


@each_dataset
def test_names_follow_the_vocabulary(dataset: Dataset) -> None:
    words = {word for name in dataset.column_names for word in name.split("_")}

    assert words.isdisjoint({"pair", "bar", "kline", "ts", "timestamp", "interval", "venue", "ticker", "qty"} - ALLOWED)


def test_an_unknown_dataset_is_refused_with_the_list() -> None:
    with pytest.raises(UnknownNameError, match="dataset must be one of ohlcv, funding_rates, trades; was 'ohclv'"):
        dataset_named("ohclv")


@pytest.mark.parametrize(
    ("rows", "current"),
    [
        pytest.param([("rest", 1, 0, False, "a"), ("archive", 0, 0, False, "b")], ["b"], id="best source first"),
        pytest.param([("rest", 1, 0, False, "a"), ("rest", 2, 1, False, "b")], ["b"], id="then the latest receipt"),
        pytest.param([("rest", 1, 0, False, "a"), ("rest", 1, 1, False, "b")], ["b"], id="then the highest revision"),
        pytest.param([("rest", 2, 1, False, "a"), ("rest", 1, 2, False, "b")], ["a"], id="receipt before revision"),
        pytest.param([("rest", 9, 0, False, "a"), ("archive", 1, 1, True, "b")], [], id="a retraction hides the key"),
    ],
)
def test_the_current_row_is_the_best_sources_newest(
    rows: list[tuple[str, int, int, bool, str]], current: list[str]
) -> None:
    values = ", ".join(
        f"('{s}', {received}, {revision}, {gone}, '{digest}')" for s, received, revision, gone, digest in rows
    )
    given = {"source", "received_at", "revision", "is_retracted", "digest"}
    others = ", ".join(f"'same' as {name}" for name in OHLCV.column_names if name not in given)
    relation = f"(select *, {others} from (values {values}) as t(source, received_at, revision, is_retracted, digest))"
    found = duckdb.sql(f"select digest from ({current_rows_sql(OHLCV, relation)})").fetchall()
    assert [row[0] for row in found] == current
