"""What a market had, should have had and had rejected, by UTC day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from marketlake.ledger import publications_between
from tests.integration.publish.shelf import Shelf, restated
from tests.lakes import candle, minutes

DAY = datetime(2025, 1, 30, tzinfo=UTC)
MINUTE, HOUR, WHOLE = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def listed(shelf: Shelf, listed_at: datetime | None, delisted_at: datetime | None = None) -> None:
    shelf.connection.execute(
        "insert into ops.instruments (exchange, symbol, exchange_symbol, market_type, base_asset, quote_asset,"
        " listed_at, delisted_at, valid_from) values ('binance', 'BTC/USDT', 'BTCUSDT', 'spot', 'BTC', 'USDT',"
        " %s, %s, '2009-01-03')",
        [listed_at, delisted_at],
    )


def test_each_touched_day_is_counted_whole_however_small_the_range(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 48, step=HOUR, timeframe="1h"))
    shelf.changed(DAY, DAY + 2 * WHOLE, timeframe="1h")
    shelf.publish()
    shelf.put(*minutes(DAY + 30 * MINUTE, 1))
    shelf.changed(DAY + 30 * MINUTE, DAY + 31 * MINUTE)
    shelf.publish()
    assert shelf.days() == [("2025-01-30", 24, 24, 0), ("2025-01-31", 24, 24, 0), ("2025-01-30", 1440, 1, 0)]


def test_before_a_listing_and_after_a_delisting_nothing_is_expected(shelf: Shelf) -> None:
    listed(shelf, DAY + 6 * HOUR, DAY + WHOLE + HOUR)
    shelf.put(candle(DAY + 6 * HOUR))
    shelf.changed(DAY - WHOLE, DAY + 3 * WHOLE)
    shelf.publish()
    assert shelf.days() == [("2025-01-30", 18 * 60, 1, 0), ("2025-01-31", 60, 0, 0)]


def test_a_day_that_is_not_over_expects_what_has_closed_so_far(shelf: Shelf) -> None:
    shelf.connection.execute("update ops.runs set now_at = %s", [DAY + 6 * HOUR + timedelta(seconds=30)])
    shelf.put(*minutes(DAY, 360), candle(DAY, timeframe="1h"))
    for timeframe in ("1m", "1h", "1d"):
        shelf.changed(DAY, DAY + 6 * HOUR, timeframe=timeframe)
    shelf.publish()
    assert shelf.days() == [("2025-01-30", 6, 1, 0), ("2025-01-30", 360, 360, 0)]


def test_the_candles_in_which_a_market_began_and_ended_are_expected(shelf: Shelf) -> None:
    listed(shelf, DAY + 90 * MINUTE, DAY + 210 * MINUTE)
    shelf.put(*minutes(DAY + HOUR, 3, step=HOUR, timeframe="1h"))
    shelf.changed(DAY, DAY + WHOLE, timeframe="1h")
    shelf.publish()
    assert shelf.days() == [("2025-01-30", 3, 3, 0)]


def test_a_day_grows_with_the_next_run_and_is_published_for_that_alone(shelf: Shelf) -> None:
    shelf.connection.execute("update ops.runs set now_at = %s", [DAY + 6 * HOUR])
    shelf.put(*minutes(DAY, 360))
    shelf.changed(DAY, DAY + 6 * HOUR)
    shelf.publish()
    shelf.connection.execute("update ops.runs set now_at = %s", [DAY + 2 * WHOLE])
    shelf.changed(DAY + 6 * HOUR, DAY + WHOLE)

    done = shelf.publish()

    assert (done["ranges"], done["rows_written"]) == (1, 0)
    assert shelf.days() == [("2025-01-30", 1440, 360, 0)]


def test_rejected_rows_count_once_each_for_their_own_market_and_day(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 2))
    shelf.reject(
        ("a", candle(DAY)),
        ("b", candle(DAY + WHOLE)),
        ("b", candle(DAY + WHOLE)),
        ("b of another page", candle(DAY + WHOLE)),
        ("c", candle(DAY, symbol="ETH/USDT")),
        ("d", candle(DAY, timeframe="1h")),
        ("e", candle(DAY - WHOLE)),
    )
    shelf.changed(DAY, DAY + 2 * WHOLE)
    shelf.publish()
    assert shelf.days() == [("2025-01-30", 1440, 2, 1), ("2025-01-31", 1440, 0, 1)]


def test_a_day_that_lost_all_its_candles_is_still_expected(shelf: Shelf) -> None:
    row = candle(DAY)
    shelf.put(row)
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    shelf.put(restated(row, "100", is_retracted=True))
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    assert shelf.days() == [("2025-01-30", 1440, 0, 0)]


def test_a_day_that_turns_out_to_lie_before_the_listing_is_taken_out(shelf: Shelf) -> None:
    row = candle(DAY)
    shelf.put(row)
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    listed(shelf, DAY + WHOLE)
    shelf.put(restated(row, "100", is_retracted=True))
    shelf.changed(DAY, DAY + HOUR)
    shelf.publish()
    assert shelf.days() == []
    assert len(publications_between(shelf.connection, 0, 9)) == 2


def test_days_that_did_not_change_are_not_written_again(shelf: Shelf) -> None:
    shelf.put(*minutes(DAY, 3), *minutes(DAY + WHOLE, 3))
    shelf.changed(DAY, DAY + 2 * WHOLE)
    shelf.publish()
    before = shelf.rows("select day::text, updated_at from bronze.market_day_quality order by 1")
    shelf.put(*minutes(DAY + WHOLE + HOUR, 1))
    shelf.changed(DAY, DAY + 2 * WHOLE)
    shelf.publish()
    after = shelf.rows("select day::text, updated_at from bronze.market_day_quality order by 1")
    assert after[0] == before[0]
    assert after[1] > before[1]
