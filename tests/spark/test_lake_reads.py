"""What DuckDB and the SDK read without a JVM equals what Spark reads of the same tables."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from marketlake import Lake
from marketlake.datasets import OHLCV
from marketlake.datasets.current import current_rows_sql
from tests.lakes import KNOWN, candle, commit, minutes

DAY = datetime(2025, 1, 30, 23, 30, tzinfo=UTC)
LATER = KNOWN + timedelta(days=1)
WANTED = "symbol = 'BTC/USDT' and timeframe = '1m' and partition_date = date '2025-01-31'"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A lake with two sources, a restatement, a retraction and another symbol, over midnight."""
    folder = tmp_path / "delta_lake"
    commit(folder, [*minutes(DAY, 60), *minutes(DAY, 60, symbol="ETH/USDT")])
    commit(folder, minutes(DAY, 50, source="rest", close="3", received_at=LATER, known_at=LATER))
    restated = candle(
        DAY + timedelta(minutes=40), revision=1, close="0.123456789012", received_at=LATER, known_at=LATER
    )
    gone = candle(DAY + timedelta(minutes=45), revision=1, is_retracted=True, received_at=LATER, known_at=LATER)
    commit(folder, [restated, gone])
    return folder


def test_one_day_of_one_symbol_is_the_same_in_spark_duckdb_and_the_sdk(spark: SparkSession, root: Path) -> None:
    spark.read.format("delta").load(str(root / "bronze" / "ohlcv")).createOrReplaceTempView("every_revision")
    current = current_rows_sql(OHLCV, "every_revision")
    columns = ["open_time", "close", "volume", "trade_count", "source", "revision"]
    by_spark = spark.sql(f"select {', '.join(columns)} from ({current}) where {WANTED} order by open_time").toArrow()
    by_duckdb = Lake(root).query(
        f"select {', '.join(columns)} from raw_market_data_1m where {WANTED} order by open_time"
    )
    by_sdk = Lake(root).candles("BTC/USDT", "1m", "2025-01-31", "2025-02-01", columns=columns, exact=True)
    assert by_duckdb.to_pylist() == by_spark.to_pylist() == by_sdk.to_pylist()
    assert len(by_sdk) == 29
