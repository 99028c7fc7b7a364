"""Publishing from a real lake to a real Postgres: what is copied, left alone, and left by a failure (LAKE-26)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from marketlake.datasets import FUNDING_RATES
from marketlake.errors import DataError
from marketlake.lake.files import open_table
from marketlake.ledger import Run, changes_unpublished, connect, create_run, publications_between
from marketlake.publish.step import publish_changes
from marketlake.settings import Publish
from tests.integration.publish.shelf import NOW, RUN, Shelf, restated
from tests.lakes import candle, funding, minutes

DAY = datetime(2025, 1, 30, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_every_column_arrives_as_it_stands_in_the_lake(shelf: Shelf) -> None:
    odd = candle(DAY, close="100.123456789012", source_ref='a "quoted", odd\nname.zip', taker_buy_volume=None)
    shelf.put(odd)
    shelf.changed(DAY, DAY + MINUTE)

    shelf.publish()

    with shelf.connection.cursor() as cursor:
        cursor.execute("select * from bronze.ohlcv")
        names = [column.name for column in cursor.description or []]
        published = dict(zip(names, cursor.fetchone() or (), strict=True))
    lake = open_table(str(shelf.root), "bronze.ohlcv").to_pyarrow_table().to_pylist()[0]
    assert published == lake
    assert published["taker_buy_volume"] is None


def test_an_event_without_its_optional_values_has_nulls_and_no_empty_texts(shelf: Shelf) -> None:
    shelf.put_funding(funding(DAY, mark_price=None, funding_interval_hours=None))
    shelf.changed(DAY, DAY + HOUR, symbol="BTC/USDT:USDT", dataset=FUNDING_RATES)
    shelf.publish()
    query = "select mark_price, funding_interval_hours, funding_rate::text from bronze.raw_funding_rates"
    assert shelf.rows(query) == [(None, None, "0.000100000000")]
    assert shelf.days("BTC/USDT:USDT") == [("2025-01-30", None, 1, 0)]


def test_a_publication_tells_range_rows_and_run_and_its_changes_wait_no_longer(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 10))
    shelf.changed(DAY, DAY + 5 * MINUTE)
    shelf.changed(DAY + 5 * MINUTE, DAY + 10 * MINUTE)
    shelf.changed(DAY + 2 * HOUR, DAY + 3 * HOUR)

    done = shelf.publish()

    assert (done["ranges"], done["rows_written"], done["rows_deleted"]) == (1, 10, 0)
    [publication] = publications_between(shelf.connection, 0, 9)
    assert (publication.range_start, publication.range_end) == (DAY, DAY + 10 * MINUTE)
    assert (publication.rows_written, publication.rows_deleted, publication.run_id) == (10, 0, RUN)
    assert shelf.waiting() == 0


def test_a_repeat_publishes_nothing(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 10))
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    before = shelf.rows("select xmin::text, * from bronze.ohlcv order by open_time")

    shelf.changed(DAY, DAY + HOUR)
    done = shelf.publish()

    assert (done["ranges"], done["rows_written"]) == (0, 0)
    assert len(publications_between(shelf.connection, 0, 9)) == 1
    assert shelf.waiting() == 0
    assert shelf.rows("select xmin::text, * from bronze.ohlcv order by open_time") == before


def test_a_restated_candle_replaces_the_published_one_and_no_other(shelf: Shelf) -> None:
    rows = minutes(DAY, 3)
    shelf.put(*rows)
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    shelf.put(restated(rows[1], "100.5"))
    shelf.changed(DAY, DAY + HOUR)

    done = shelf.publish()

    assert (done["rows_written"], done["rows_deleted"]) == (1, 0)
    assert shelf.closes()[1] == (DAY + MINUTE, "100.5")
    assert shelf.rows("select revision, count(*) from bronze.ohlcv group by 1 order by 1") == [(0, 2), (1, 1)]


def test_a_retracted_candle_leaves_no_row_and_its_day_counts_one_less(shelf: Shelf) -> None:
    rows = minutes(DAY, 3)
    shelf.put(*rows)
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    shelf.put(restated(rows[1], "100", is_retracted=True))
    shelf.changed(DAY + MINUTE, DAY + 2 * MINUTE)

    done = shelf.publish()

    assert (done["ranges"], done["rows_written"], done["rows_deleted"]) == (1, 0, 1)
    assert [at for at, _ in shelf.closes()] == [DAY, DAY + 2 * MINUTE]
    assert shelf.days() == [("2025-01-30", 1440, 2, 0)]


def test_a_market_retracted_altogether_leaves_nothing(shelf: Shelf) -> None:
    rows = minutes(DAY, 2)
    shelf.put(*rows)
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    shelf.put(*(restated(row, "100", is_retracted=True) for row in rows))
    shelf.changed(DAY, DAY + HOUR)
    assert shelf.publish()["rows_deleted"] == 2
    assert shelf.closes() == []


def test_rows_of_other_markets_timeframes_and_times_are_not_touched(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 4), *minutes(DAY, 4, symbol="ETH/USDT"), *minutes(DAY, 2, step=HOUR, timeframe="1h"))
    for symbol, timeframe in (("BTC/USDT", "1m"), ("ETH/USDT", "1m"), ("BTC/USDT", "1h")):
        shelf.changed(DAY, DAY + 2 * HOUR, symbol=symbol, timeframe=timeframe)
    shelf.publish()
    others = "select xmin::text, * from bronze.ohlcv where symbol <> 'BTC/USDT' or timeframe <> '1m' or open_time < %s"
    before = shelf.rows(others, DAY + 2 * MINUTE)
    for row in minutes(DAY, 4):
        shelf.put(restated(row, "99.5"))
    shelf.changed(DAY + 2 * MINUTE, DAY + 4 * MINUTE)

    done = shelf.publish()

    assert done["rows_written"] == 2
    assert shelf.rows(others, DAY + 2 * MINUTE) == before


def test_a_range_without_current_rows_is_published_when_its_day_counts_change(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 2))
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    shelf.reject(("a", candle(DAY + 5 * MINUTE)), ("b", candle(DAY + 6 * MINUTE)), ("a", candle(DAY + 5 * MINUTE)))
    shelf.changed(DAY + 5 * MINUTE, DAY + 7 * MINUTE)

    done = shelf.publish()

    assert (done["ranges"], done["rows_written"], done["rows_deleted"]) == (1, 0, 0)
    assert shelf.days() == [("2025-01-30", 1440, 2, 2)]
    assert publications_between(shelf.connection, 1, 9)[0].range_start == DAY + 5 * MINUTE


def test_a_lake_in_which_everything_was_rejected_publishes_the_counts(shelf: Shelf) -> None:
    shelf.reject(("a", candle(DAY)))
    shelf.changed(DAY, DAY + MINUTE)
    assert shelf.publish()["ranges"] == 1
    assert shelf.days() == [("2025-01-30", 1440, 0, 1)]


def test_what_all_runs_left_is_published_by_the_next_one(shelf: Shelf) -> None:
    create_run(shelf.connection, Run("cli__later", "cli", None, "incremental", {}, NOW))
    shelf.put(*minutes(DAY, 2))
    shelf.changed(DAY, DAY + MINUTE)
    shelf.publish("cli__later")
    assert publications_between(shelf.connection, 0, 9)[0].run_id == "cli__later"
    assert shelf.waiting() == 0


def test_an_old_run_that_is_repeated_does_not_shrink_what_a_day_should_have(shelf: Shelf) -> None:
    create_run(shelf.connection, Run("cli__old", "cli", None, "incremental", {}, DAY + HOUR))
    shelf.put(*minutes(DAY, 120))
    shelf.changed(DAY, DAY + 2 * HOUR)
    shelf.publish("cli__old")
    assert shelf.days() == [("2025-01-30", 1440, 120, 0)]


def test_two_publishers_at_once_publish_each_range_once(shelf: Shelf) -> None:
    for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT"):
        shelf.put(*minutes(DAY, 300, symbol=symbol))
        shelf.changed(DAY, DAY + 5 * HOUR, symbol=symbol)
    together, results = threading.Barrier(3), []
    shelf.connection.execute(
        "create function public.take_a_while() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.2); return null; end $$"
    )
    shelf.connection.execute(
        "create trigger slow after insert on bronze.ohlcv for each statement execute function public.take_a_while()"
    )

    def publish() -> None:
        with connect(shelf.settings) as own:
            together.wait()
            results.append(publish_changes(own, shelf.settings, run_id=RUN))

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    shelf.connection.execute("drop function public.take_a_while() cascade")

    assert len(results) == 3
    assert sum(done["ranges"] for done in results) == 3
    assert sum(done["rows_written"] for done in results) == 900
    assert shelf.rows("select count(*) from bronze.ohlcv") == [(900,)]
    assert len(publications_between(shelf.connection, 0, 9)) == 3


def test_a_change_that_comes_while_another_publisher_works_is_not_lost(shelf: Shelf) -> None:
    rows = minutes(DAY, 3)
    shelf.put(*rows)
    shelf.changed(DAY, DAY + HOUR)
    seen = changes_unpublished(shelf.connection)
    shelf.put(restated(rows[0], "100.5"))
    shelf.changed(DAY, DAY + HOUR)

    shelf.publish()

    assert len(seen) == 1
    assert shelf.closes()[0] == (DAY, "100.5")
    assert shelf.waiting() == 0


def test_a_server_that_ends_the_connection_in_the_middle_leaves_nothing_and_a_repeat_finishes(shelf: Shelf) -> None:
    for symbol in ("BTC/USDT", "ETH/USDT"):
        shelf.put(*minutes(DAY, 10, symbol=symbol))
        shelf.changed(DAY, DAY + HOUR, symbol=symbol)
    with connect(shelf.settings) as doomed:
        doomed.execute(
            "create or replace function public.die_after_eth() returns trigger language plpgsql as $$ begin"
            " if (select count(*) from bronze.ohlcv where symbol = 'ETH/USDT') > 0 then"
            " perform pg_terminate_backend(pg_backend_pid()); end if; return null; end $$"
        )
        doomed.execute(
            "create trigger die after insert on bronze.ohlcv for each statement execute function public.die_after_eth()"
        )
        try:
            with pytest.raises(psycopg.OperationalError):
                publish_changes(doomed, shelf.settings, run_id=RUN)
        finally:
            shelf.connection.execute("drop function public.die_after_eth() cascade")
    assert shelf.rows("select symbol, count(*) from bronze.ohlcv group by 1") == [("BTC/USDT", 10)]
    assert shelf.waiting() == 1
    assert len(publications_between(shelf.connection, 0, 9)) == 1

    assert shelf.publish()["rows_written"] == 10
    assert shelf.rows("select count(*) from bronze.ohlcv") == [(20,)]
    assert shelf.waiting() == 0


def test_a_market_that_differs_after_copying_is_rolled_back_and_named_and_the_others_go_on(shelf: Shelf) -> None:
    first = minutes(DAY, 3, symbol="ADA/USDT")
    shelf.put(*first, *minutes(DAY, 3))
    shelf.changed(DAY, DAY + HOUR, symbol="ADA/USDT")
    shelf.publish()
    # A newer row than the lake's, as a restore to an older version would leave it: never written over.
    shelf.connection.execute("update bronze.ohlcv set known_at = '2030-01-01', digest = 'v1:ffffffff'")
    shelf.changed(DAY, DAY + HOUR, symbol="ADA/USDT")
    shelf.changed(DAY, DAY + HOUR)

    with pytest.raises(DataError, match=r"1 of 2 markets were not published:\n.*ADA/USDT.*3 current rows"):
        shelf.publish()

    assert len(shelf.closes()) == 3
    assert shelf.rows("select distinct digest from bronze.ohlcv where symbol = 'ADA/USDT'") == [("v1:ffffffff",)]
    assert [change.symbol for change in changes_unpublished(shelf.connection)] == ["ADA/USDT"]


def test_history_that_postgres_does_not_keep_is_let_go_by_whole_days(shelf: Shelf) -> None:
    now = DAY + timedelta(days=2, hours=6)
    shelf.connection.execute("update ops.runs set now_at = %s", [now])
    shelf.put(*minutes(DAY, 48, step=HOUR))
    shelf.changed(DAY, DAY + timedelta(days=2))

    shelf.publish(publish=Publish(history_days=1))

    assert shelf.closes()[0][0] == DAY + timedelta(days=1)
    assert shelf.days() == [("2025-01-31", 1440, 24, 0)]
    assert shelf.waiting() == 0


def test_a_damaged_log_is_named_and_nothing_is_published(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 3))
    shelf.changed(DAY, DAY + HOUR)
    for log in (shelf.root / "bronze" / "ohlcv" / "_delta_log").glob("*.json"):
        log.write_text("{")
    with pytest.raises(DataError, match=r"log of table bronze\.ohlcv"):
        shelf.publish()
    assert shelf.waiting() == 1
