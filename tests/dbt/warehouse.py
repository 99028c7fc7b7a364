"""A published bronze schema to build on: candles and funding events put into Postgres as publish would leave them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg

from marketlake.instants import Window
from marketlake.ledger import connect, insert_publication, newest_publication
from marketlake.publish.bronze_tables import ensure_bronze_tables
from marketlake.publish.dbt_process import DbtResult, run_dbt
from marketlake.settings import Settings
from marketlake.timeframes import timeframe_length

# open_time, open, high, low, close, volume, quote_volume
Candle = tuple[datetime, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal | None]
# trade_count, taker_buy_volume, taker_buy_quote_volume, which a candle may give after these
_UNSTATED = (1, None, None)
SILVER = ("--select", "path:models/staging", "path:models/intermediate", "path:models/silver")


@dataclass(frozen=True)
class Warehouse:
    """One database with bronze tables; `settings` names it and the home that dbt writes to."""

    settings: Settings
    connection: psycopg.Connection

    @classmethod
    def of(cls, settings: Settings) -> Warehouse:
        """Return the warehouse of the settings' database, its tables made."""
        connection = connect(settings)
        ensure_bronze_tables(connection)
        return cls(settings, connection)

    def put(
        self, symbol: str, timeframe: str, candles: Iterable[tuple[Any, ...]], *, exchange: str = "binance"
    ) -> None:
        """Insert candles, or replace those that are there."""
        cursor = self.connection.cursor()
        with self.connection.transaction():
            cursor.execute(
                "create temporary table given (open_time timestamptz, open numeric, high numeric, low numeric,"
                " close numeric, volume numeric, quote_volume numeric, trade_count bigint, taker_buy_volume numeric,"
                " taker_buy_quote_volume numeric) on commit drop"
            )
            with cursor.copy("copy given from stdin") as copy:
                for candle in candles:
                    copy.write_row(candle if len(candle) == 10 else (*candle, *_UNSTATED))
            cursor.execute(
                "insert into bronze.ohlcv as held (exchange, market_type, symbol, exchange_symbol, timeframe,"
                " open_time, close_time,"
                " open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,"
                " taker_buy_quote_volume, source, source_ref, revision,"
                " is_retracted, digest, load_id, received_at, known_at, partition_date, partition_asset_pair,"
                " partition_month) select %(exchange)s, 'spot', %(symbol)s, replace(%(symbol)s, '/', ''),"
                " %(timeframe)s, open_time, open_time + %(length)s, open, high, low, close, volume, quote_volume,"
                " trade_count, taker_buy_volume, taker_buy_quote_volume, 'archive', 'test',"
                " 0, false, 'v1:0', 'test', open_time + interval '1 day', open_time + interval '1 day',"
                " (open_time at time zone 'UTC')::date, %(symbol)s, to_char(open_time at time zone 'UTC', 'YYYY-MM')"
                " from given on conflict (symbol, timeframe, open_time, exchange) do update set open = excluded.open,"
                " high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,"
                " quote_volume = excluded.quote_volume, revision = held.revision + 1",
                {
                    "exchange": exchange,
                    "symbol": symbol,
                    "timeframe": timeframe,
                    "length": timeframe_length(timeframe),
                },
            )

    def retract(self, symbol: str, timeframe: str, open_times: Sequence[datetime]) -> None:
        """Take candles away."""
        self.connection.execute(
            "delete from bronze.ohlcv where symbol = %s and timeframe = %s and open_time = any(%s)",
            [symbol, timeframe, list(open_times)],
        )

    def put_funding(self, symbol: str, events: Iterable[tuple[datetime, Decimal]]) -> None:
        """Insert funding events."""
        for instant, rate in events:
            self.connection.execute(
                "insert into bronze.funding_rates (exchange, market_type, symbol, exchange_symbol, funding_time,"
                " funding_time_raw, funding_rate, source, source_ref, revision, is_retracted, digest, load_id,"
                " received_at, known_at, partition_date, partition_asset_pair) select 'binance', 'perpetual',"
                " %(symbol)s, %(symbol)s, %(at)s, %(at)s, %(rate)s,"
                " 'rest', 'test', 0, false, 'v1:0', 'test', %(at)s, %(at)s,"
                " (%(at)s at time zone 'UTC')::date, %(symbol)s",
                {"symbol": symbol, "at": instant, "rate": rate},
            )

    def publish(
        self,
        symbol: str,
        timeframe: str,
        start: datetime,
        end: datetime,
        *,
        dataset: str = "ohlcv",
        exchange: str = "binance",
        rejected: int = 0,
    ) -> int:
        """Count the days of the range and queue it for dbt; return the publication's id."""
        with self.connection.transaction(), self.connection.cursor() as cursor:
            table, time = ("ohlcv", "open_time") if dataset == "ohlcv" else ("funding_rates", "funding_time")
            condition = "timeframe = %(timeframe)s" if dataset == "ohlcv" else "true"
            expected = timedelta(days=1) // timeframe_length(timeframe) if timeframe else None
            cursor.execute(
                "delete from bronze.market_day_quality where dataset = %s and symbol = %s and timeframe = %s",
                [dataset, symbol, timeframe],
            )
            cursor.execute(
                "insert into bronze.market_day_quality"
                " (dataset, exchange, symbol, timeframe, day, expected, present, rejected)"
                f" select %(dataset)s, exchange, symbol, %(timeframe)s, ({time} at time zone 'UTC')::date,"
                f" %(expected)s, count(*), %(rejected)s from bronze.{table} where symbol = %(symbol)s and {condition}"
                " group by exchange, symbol, 5",
                {
                    "dataset": dataset,
                    "timeframe": timeframe,
                    "expected": expected,
                    "rejected": rejected,
                    "symbol": symbol,
                },
            )
            return insert_publication(
                cursor,
                dataset=dataset,
                exchange=exchange,
                symbol=symbol,
                timeframe=timeframe,
                window=Window(start, end),
                rows_written=0,
                rows_deleted=0,
                run_id="test",
            )

    def dbt(self, *command: str, variables: dict[str, Any] | None = None) -> DbtResult:
        """Run dbt, pinned to the newest publication."""
        pinned = {"pinned_publication_id": newest_publication(self.connection)}
        return run_dbt(self.settings, command, variables=pinned | (variables or {}))

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return the rows of a query as mappings."""
        with self.connection.cursor() as cursor:
            cursor.execute(query.encode(), parameters)
            names = [column.name for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def columns(self, query: str, parameters: Sequence[Any] = ()) -> dict[str, np.ndarray]:
        """Return the numeric columns of a query as doubles, null as NaN."""
        rows = self.rows(query, parameters)
        numeric = [name for name in rows[0] if all(isinstance(row[name], int | float | Decimal | None) for row in rows)]
        return {name: np.array([np.nan if row[name] is None else float(row[name]) for row in rows]) for name in numeric}


def random_candles(start: datetime, timeframe: str, count: int, *, seed: int, price: float = 100.0) -> list[Candle]:
    """Return candles of a random walk in cents, each inside its high and low; the same for the same seed."""
    generator = np.random.default_rng(seed)
    closes = np.maximum(price + np.cumsum(generator.normal(0, price / 1000, count)), price / 100)
    opens = np.concatenate([[price], closes[:-1]])
    spread = np.abs(generator.normal(0, price / 1000, (2, count)))
    highs, lows = np.maximum(opens, closes) + spread[0], np.maximum(np.minimum(opens, closes) - spread[1], 0.01)
    volumes = np.abs(generator.normal(10, 5, count))
    return [
        candle(start + at * timeframe_length(timeframe), *numbers)
        for at, numbers in enumerate(zip(opens, highs, lows, closes, volumes, strict=True))
    ]


def candle(open_time: datetime, open: float, high: float, low: float, close: float, volume: float) -> Candle:
    """Return a candle with prices in cents and its quote volume at the middle of the range."""
    prices = [Decimal(f"{value:.2f}") for value in (open, high, low, close)]
    amount = Decimal(f"{volume:.5f}")
    return (open_time, *prices, amount, amount * (prices[1] + prices[2]) / 2)  # type: ignore[return-value]


def utc(text: str) -> datetime:
    """Return the UTC instant of an ISO text without zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
