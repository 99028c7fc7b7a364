"""The names that users know are there in Postgres, with partition columns, for the reader too (LAKE-04, GEN-10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.timeframes import TIMEFRAMES
from tests.integration.publish.shelf import Shelf
from tests.lakes import candle, funding

DAY = datetime(2025, 1, 30, tzinfo=UTC)


def test_each_timeframe_and_funding_have_their_view_of_current_rows(shelf: Shelf) -> None:
    for timeframe in TIMEFRAMES:
        shelf.put(candle(DAY, timeframe=timeframe), candle(DAY, timeframe=timeframe, close="7", revision=1))
        shelf.changed(DAY, DAY + timedelta(days=1), timeframe=timeframe)
    shelf.put_funding(funding(DAY))
    shelf.changed(DAY, DAY + timedelta(days=1), symbol="BTC/USDT:USDT", dataset=FUNDING_RATES)

    shelf.publish()

    for timeframe in TIMEFRAMES:
        found = shelf.rows(
            "select timeframe, trim_scale(close)::text, partition_asset_pair, partition_date"
            f" from bronze.raw_market_data_{timeframe}"
        )
        assert found == [(timeframe, "7", "BTC/USDT", DAY.date())]
    query = "select symbol, partition_asset_pair from bronze.raw_funding_rates"
    assert shelf.rows(query) == [("BTC/USDT:USDT", "BTC/USDT:USDT")]


def test_the_readers_role_may_read_every_view(shelf: Shelf) -> None:
    views = [view for dataset in (OHLCV, FUNDING_RATES) for view in dataset.views]
    with psycopg.connect(
        shelf.connection.info.dsn, user="marketlake_reader", password=shelf.settings.database.reader_password
    ) as reader:
        for view in views:
            assert reader.execute(f"select count(*) from bronze.{view}".encode()).fetchone() is not None
