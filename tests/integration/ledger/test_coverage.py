"""Tests for coverage in the database: tiles, high watermarks (LAKE-15), gaps (QUA-21 … QUA-24), the quality log."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from marketlake.instants import parse_instant
from marketlake.ledger import (
    Fact,
    MarketFilter,
    connect,
    count_events,
    coverage_of,
    finish_run,
    gaps,
    high_watermark,
    markets_covered,
    open_tiles,
    reset_watermark,
    save_tasks,
    watermarks,
)
from marketlake.settings import Settings
from marketlake.work import FetchTask
from tests.integration.ledger.rows import NOW, SPOT, load, make_run, span

BTC = ("ohlcv", "binance", "BTC/USDT", "1h")


def watermark(connection: psycopg.Connection) -> str:
    at = high_watermark(connection, *BTC)
    return at.isoformat()[:16] if at else "none"


def tiles(connection: psycopg.Connection) -> list[tuple[str, str, str]]:
    return [
        (item.window.start.isoformat()[5:13], item.window.end.isoformat()[5:13], item.state)
        for item in coverage_of(connection, *BTC)
    ]


def test_loading_to_the_end_of_a_day_puts_the_watermark_at_midnight_and_the_last_candle_an_hour_before(
    connection: psycopg.Connection,
) -> None:
    day = ("2025-12-14", "2025-12-15")
    load(connection, "l1", window=day, answered=[day], now=datetime(2025, 12, 15, 1, tzinfo=UTC))

    [mark] = watermarks(connection)
    assert mark.high_watermark_at == parse_instant("2025-12-15")
    assert mark.last_open_time == parse_instant("2025-12-14T23:00:00Z")
    assert (mark.dataset, mark.exchange, mark.symbol, mark.timeframe, mark.load_id) == (*BTC, "l1")


def test_the_watermark_waits_before_an_open_hole_and_goes_on_once_it_settles(connection: psycopg.Connection) -> None:
    three_days = ("2025-01-01", "2025-01-04")
    holed = [("2025-01-01", "2025-01-02"), ("2025-01-03", "2025-01-04")]
    load(connection, "l1", window=three_days, answered=holed)
    assert watermark(connection) == "2025-01-02T00:00"

    load(connection, "l2", window=("2025-01-02", "2025-01-03"), answered=[("2025-01-02", "2025-01-03")])

    assert watermark(connection) == "2025-01-04T00:00"
    assert tiles(connection) == [("01-01T00", "01-04T00", "present")]


def test_a_hole_that_reopens_behind_the_watermark_does_not_lower_it(connection: psycopg.Connection) -> None:
    load(connection, "l1", window=("2025-01-01", "2025-01-03"), answered=[("2025-01-01", "2025-01-03")])
    reopened = span("2025-01-01T04:00:00Z", "2025-01-01T06:00:00Z")
    revoked = Fact(*BTC, window=reopened, state="revoked", source="rest", cause="rules_changed")
    load(connection, "l2", facts=(revoked, Fact(*BTC, window=reopened, state="pending", retry_at=NOW)))

    assert watermark(connection) == "2025-01-03T00:00"
    assert [tile.window for tile in open_tiles(connection, *BTC, before=NOW)] == [reopened]
    load(connection, "l3", window=("2025-01-03", "2025-01-04"), answered=[("2025-01-03", "2025-01-04")])
    assert watermark(connection) == "2025-01-04T00:00"


def test_an_older_window_loaded_later_does_not_stop_the_watermark(connection: psycopg.Connection) -> None:
    for number, day in enumerate(("2025-01-05", "2025-01-01", "2025-01-06"), 1):
        following = f"{day[:-1]}{int(day[-1]) + 1}"
        load(connection, f"l{number}", window=(day, following), answered=[(day, following)])

    assert watermark(connection) == "2025-01-07T00:00"


def test_a_failed_range_at_the_start_holds_the_watermark_back(connection: psycopg.Connection) -> None:
    failed = Fact(*BTC, window=span("2025-01-01", "2025-01-02"), state="failed", source="rest", retry_at=NOW)
    load(
        connection, "l1", facts=(failed,), window=("2025-01-02", "2025-01-03"), answered=[("2025-01-02", "2025-01-03")]
    )
    assert watermark(connection) == "none"

    load(connection, "l2", window=("2025-01-01", "2025-01-02"), answered=[("2025-01-01", "2025-01-02")])
    assert watermark(connection) == "2025-01-03T00:00"


def test_a_restored_table_lowers_its_watermark_only_when_told_to(connection: psycopg.Connection) -> None:
    load(connection, "l1", window=("2025-01-01", "2025-01-05"), answered=[("2025-01-01", "2025-01-05")])
    lost = Fact(*BTC, window=span("2025-01-03", "2025-01-05"), state="revoked", cause="restored")
    load(connection, "l2", facts=(lost,))
    assert watermark(connection) == "2025-01-05T00:00"

    reset_watermark(connection, *BTC)
    assert watermark(connection) == "2025-01-03T00:00"


def test_the_repeat_of_a_load_changes_nothing(connection: psycopg.Connection) -> None:
    def content() -> list[object]:
        names = ("coverage", "coverage_facts", "markets", "loads", "data_quality_logs")
        return [connection.execute(f"select * from ops.{name} order by 1, 2, 3".encode()).fetchall() for name in names]

    assert load(connection, "l1", window=("2025-01-01", "2025-01-03"), answered=[("2025-01-01", "2025-01-02")])
    before = content()

    assert not load(connection, "l1", window=("2025-01-01", "2025-01-03"), answered=[("2025-01-01", "2025-01-02")])
    assert content() == before


def test_tiles_in_the_database_never_overlap_and_neighbours_are_joined(connection: psycopg.Connection) -> None:
    for number in range(24):
        hour = (f"2025-01-01T{number:02}:00:00Z", f"2025-01-0{1 + (number + 1) // 24}T{(number + 1) % 24:02}:00:00Z")
        load(connection, f"l{number}", window=hour, answered=[hour])

    assert tiles(connection) == [("01-01T00", "01-02T00", "present")]


def test_loads_of_one_market_at_once_wait_for_each_other_and_lose_nothing(
    connection: psycopg.Connection, settings: Settings
) -> None:
    def worker(number: int) -> None:
        with connect(settings) as own:
            for day in range(number, 20, 4):
                window = (f"2025-01-{day + 1:02}", f"2025-01-{day + 2:02}")
                load(own, f"l{day}", window=window, answered=[window])

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert tiles(connection) == [("01-01T00", "01-21T00", "present")]
    assert markets_covered(connection) == [BTC]


# Gaps ----------------------------------------------------------------------------------------------------------------

HOLE = ("2025-01-02", "2025-01-03")


def holed(connection: psycopg.Connection, load_id: str, now: datetime, **changes: str) -> None:
    window = ("2025-01-01", "2025-01-04")
    load(connection, load_id, window=window, answered=[(window[0], HOLE[0]), (HOLE[1], window[1])], now=now, **changes)


def test_a_hole_is_one_open_gap_and_its_row_says_how_many_candles_are_missing(connection: psycopg.Connection) -> None:
    holed(connection, "l1", NOW)

    [gap] = gaps(connection)
    assert (gap.gap_start, gap.gap_end) == (parse_instant(HOLE[0]), parse_instant(HOLE[1]))
    assert (gap.missing_count, gap.cause, gap.status, gap.repaired_at) == (24, "pending", "open", None)
    assert gap.evidence == {"cause": "omitted", "source": "rest", "attempts": 1}


def test_a_gap_is_repairing_while_a_running_run_has_a_task_for_it(connection: psycopg.Connection) -> None:
    holed(connection, "l1", NOW)
    make_run(connection, "cli__2")
    task = FetchTask("t", "cli__2", "binance", "ohlcv", SPOT, "1h", "rest", span(*HOLE), reason="hole")
    save_tasks(connection, "cli__2", [task])

    assert [gap.status for gap in gaps(connection)] == ["repairing"]
    finish_run(connection, "cli__2", "failed")
    assert [gap.status for gap in gaps(connection)] == ["open"]


def test_a_filled_gap_is_closed_and_keeps_its_history(connection: psycopg.Connection) -> None:
    holed(connection, "l1", NOW)
    load(connection, "l2", window=HOLE, answered=[HOLE], source="archive")

    [gap] = gaps(connection)
    assert (gap.status, gap.cause, gap.missing_count) == ("closed", "pending", 24)
    assert gap.repaired_at is not None
    assert gap.repaired_at > gap.detected_at
    assert gaps(connection, statuses=["open", "repairing"]) == []


def test_after_three_attempts_on_three_days_a_gap_is_unfillable(connection: psycopg.Connection) -> None:
    for number in range(3):
        holed(connection, f"l{number}", NOW + timedelta(days=number))
        expected = "unfillable" if number == 2 else "open"
        assert [(gap.status, gap.evidence["attempts"]) for gap in gaps(connection)] == [(expected, number + 1)]
    assert watermark(connection) == "2025-01-04T00:00"


def test_three_attempts_on_one_day_leave_a_gap_open(connection: psycopg.Connection) -> None:
    for number in range(3):
        holed(connection, f"l{number}", NOW + timedelta(hours=number))

    assert [(gap.status, gap.evidence["attempts"]) for gap in gaps(connection)] == [("open", 1)]


@pytest.mark.parametrize(
    ("state", "cause", "retry", "status"),
    [
        ("exchange_down", "calendar", False, "unfillable"),
        ("rejected", "rules", False, "unfillable"),
        ("rejected", "rules", True, "open"),
        ("failed", "fetch_failed", True, "open"),
        ("no_trades", "omitted", False, "closed"),
    ],
)
def test_the_status_of_a_gap_follows_its_cause(
    connection: psycopg.Connection, state: str, cause: str, retry: bool, status: str
) -> None:
    retry_at = NOW if retry else None
    load(connection, "l1", facts=(Fact(*BTC, window=span(*HOLE), state=state, cause=cause, retry_at=retry_at),))

    assert [(gap.cause, gap.status) for gap in gaps(connection)] == [(state, status)]


def test_not_being_listed_is_no_gap(connection: psycopg.Connection) -> None:
    load(connection, "l1", facts=(Fact(*BTC, window=span(*HOLE), state="not_listed"),))

    assert gaps(connection) == []


def test_gaps_can_be_asked_for_by_market_and_window(connection: psycopg.Connection) -> None:
    holed(connection, "l1", NOW)
    holed(connection, "l2", NOW, timeframe="4h")

    assert [gap.timeframe for gap in gaps(connection)] == ["1h", "4h"]
    assert [gap.missing_count for gap in gaps(connection, MarketFilter(timeframe="4h"))] == [6]
    assert gaps(connection, MarketFilter(window=span("2025-02-01", "2025-02-02"))) == []
    assert gaps(connection, MarketFilter(symbol="ETH/USDT")) == []


def test_the_quality_log_counts_gaps_found_and_filled_once(connection: psycopg.Connection) -> None:
    for number in range(2):
        holed(connection, f"l{number}", NOW + timedelta(days=number))
    load(connection, "l9", window=HOLE, answered=[HOLE])

    assert count_events(connection) == {"gap_detected": (1, 24.0), "gap_filled": (1, 24.0)}


def test_thousands_of_holes_in_one_answer_are_stored_in_seconds(connection: psycopg.Connection) -> None:
    minute = timedelta(minutes=1)
    start = parse_instant("2025-01-01")
    answered = [
        ((start + 2 * number * minute).isoformat(), (start + (2 * number + 1) * minute).isoformat())
        for number in range(5000)
    ]
    end = (start + 10_000 * minute).isoformat()

    load(connection, "l1", window=(start.isoformat(), end), answered=answered, timeframe="1m")

    assert len(gaps(connection, MarketFilter(timeframe="1m"))) == 5000
