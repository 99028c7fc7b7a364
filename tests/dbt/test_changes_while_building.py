"""Builds under readers, publishers and changed models: nobody finds a gap, nothing is lost, views of users stay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from marketlake.errors import DataError, MarketlakeError, QualityError, UnavailableError
from marketlake.ledger import connect
from marketlake.ledger.database import READER_ROLE
from marketlake.publish.dbt_process import run_dbt
from tests.dbt.warehouse import Warehouse, random_candles, utc

START, MINUTE, HOUR, DAY = utc("2025-01-01"), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SYMBOL = "BTC/USDT"
FULL_REFRESH = ("--full-refresh", "--no-partial-parse")
SILVER = ("market_data", "market_data_enriched", "market_data_resampled", "klines_1m", "funding_rates")


@pytest.fixture(scope="module")
def built(warehouse: Warehouse) -> Warehouse:
    """Days 1, 2, 5 and 6 of minutes, and hours; a view that a user made on silver."""
    minutes = random_candles(START, "1m", 6 * 1440, seed=1)
    warehouse.put(SYMBOL, "1m", [*minutes[: 2 * 1440], *minutes[4 * 1440 :]])
    warehouse.put(SYMBOL, "1h", random_candles(START - 10 * DAY, "1h", 13 * 24, seed=2))
    warehouse.put_funding(f"{SYMBOL}:USDT", [(START + n * 8 * HOUR, Decimal("0.0001") * n) for n in range(9)])
    warehouse.publish(SYMBOL, "1m", START, START + 6 * DAY)
    warehouse.publish(SYMBOL, "1h", START - 10 * DAY, START + 3 * DAY)
    warehouse.publish(f"{SYMBOL}:USDT", "", START, START + 3 * DAY, dataset="funding_rates")
    warehouse.dbt("run")
    warehouse.connection.execute("create schema of_a_user")
    warehouse.connection.execute("create view of_a_user.newest as select * from silver.klines_1m")
    return warehouse


@contextmanager
def reading(warehouse: Warehouse, relations: tuple[str, ...]) -> Iterator[list[psycopg.Error]]:
    """Read these relations again and again as the reader until the body ends; what failed is in the list."""
    errors: list[psycopg.Error] = []
    done = threading.Event()

    def read() -> None:
        with connect(warehouse.settings) as connection:
            connection.execute(f"set role {READER_ROLE}".encode())
            while not done.is_set():
                for relation in relations:
                    try:
                        connection.execute(f"select * from {relation} limit 1".encode())
                    except psycopg.Error as error:
                        errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield errors
    finally:
        done.set()
        thread.join()


def days(warehouse: Warehouse) -> list[dict[str, Any]]:
    rows = warehouse.rows("select * from gold_build.mart_market_daily order by market_date, exchange, symbol")
    for row in rows:
        del row["refreshed_at"]
    return rows


def test_readers_find_every_relation_while_silver_is_built_and_their_own_views_stay(built: Warehouse) -> None:
    with reading(built, tuple(f"silver.{view}" for view in SILVER)) as errors:
        built.dbt("run", "--selector", "silver")
        built.dbt("run", "--selector", "silver", *FULL_REFRESH)
    assert errors == []
    assert len(built.rows("select 1 from of_a_user.newest")) == 4 * 1440


def test_a_view_whose_columns_changed_is_made_anew_unless_others_made_views_on_it(built: Warehouse) -> None:
    silver = built.rows("select pg_get_viewdef('silver.klines_1m'::regclass) as text")[0]["text"]
    built.connection.execute("drop view of_a_user.newest")
    built.connection.execute("drop view silver.klines_1m")
    built.connection.execute("create view silver.klines_1m as select 1 as another_column")
    built.connection.execute("create view of_a_user.newest as select * from silver.klines_1m")
    with pytest.raises(DataError, match=r"columns of silver\.klines_1m changed.* of_a_user\.newest"):
        built.dbt("run", "--select", "klines_1m")
    built.connection.execute("drop view of_a_user.newest")
    built.dbt("run", "--select", "klines_1m")
    assert built.rows("select pg_get_viewdef('silver.klines_1m'::regclass) as text")[0]["text"] == silver
    [right] = built.rows(f"select has_table_privilege('{READER_ROLE}', 'silver.klines_1m', 'select') as has")
    assert right["has"] is True


def test_what_is_published_between_the_delete_and_the_insert_of_a_mart_loses_no_day(built: Warehouse) -> None:
    """The build takes days 2 and 5 (the next one with candles); day 3 is published while it deletes."""
    built.publish(SYMBOL, "1m", START + DAY, START + 2 * DAY)
    built.dbt("run", "--selector", "silver")
    before = [row["market_date"] for row in days(built)]
    failures: list[MarketlakeError] = []

    def build() -> None:
        try:
            run_dbt(built.settings, ("run", "--select", "mart_market_daily"), variables=pinned)
        except MarketlakeError as error:
            failures.append(error)

    pinned = {"pinned_publication_id": built.rows("select max(publication_id) as id from ops.publications")[0]["id"]}
    with connect(built.settings) as holder:
        with holder.transaction(force_rollback=True):
            holder.execute("select 1 from gold_build.mart_market_daily for update")
            thread = threading.Thread(target=build)
            thread.start()
            while not built.rows("select 1 from pg_locks where not granted") and thread.is_alive():
                threading.Event().wait(0.05)
            built.put(SYMBOL, "1m", random_candles(START + 2 * DAY, "1m", 1440, seed=5))
            built.publish(SYMBOL, "1m", START + 2 * DAY, START + 3 * DAY)
        thread.join()
    assert failures == []
    assert [row["market_date"] for row in days(built)] == before
    built.dbt("run")
    assert len(days(built)) == len(before) + 1


def test_a_full_refresh_applies_changed_columns_and_equals_what_was_built_step_by_step(built: Warehouse) -> None:
    before = days(built)
    candles = "select * from staging.market_data_indicators order by symbol, timeframe, open_time"
    stored = built.rows(candles)
    # As it was before these columns were added to the models.
    built.connection.execute("alter table staging.market_data_indicators drop column roc_10 cascade")
    built.connection.execute("alter table gold_build.mart_market_daily drop column coverage cascade")
    with pytest.raises(DataError, match="market_data_indicators"):
        built.dbt("run", "--selector", "silver")
    built.dbt("run", *FULL_REFRESH)
    assert days(built) == before
    again = built.rows(candles)
    assert [row["open_time"] for row in again] == [row["open_time"] for row in stored]
    assert [row["roc_10"] for row in again] == [row["roc_10"] for row in stored]
    assert built.rows("select 1 from silver.klines_1m limit 1")


def test_row_rules_that_nobody_handed_over_fail_instead_of_passing(built: Warehouse) -> None:
    with pytest.raises(DataError, match="no row rules of ohlcv were handed over"):
        built.dbt("test", "--select", "follows_row_rules_market_data_ohlcv")


def test_only_what_may_heal_is_worth_a_repeat(built: Warehouse) -> None:
    built.connection.execute("update gold_build.mart_market_daily set volume = volume + 1")
    with pytest.raises(QualityError) as failing:
        built.dbt("test", "--select", "mart_market_daily_reconciles")
    assert failing.value.is_retryable is False
    database = built.settings.database.model_copy(update={"port": 1})
    with pytest.raises(UnavailableError) as gone:
        run_dbt(built.settings.model_copy(update={"database": database}), ("run", "--select", "klines_1m"))
    assert gone.value.is_retryable is True
