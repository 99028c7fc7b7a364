"""The fetch step against an exchange on this machine, with a real ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketlake.instants import parse_instant
from marketlake.ledger.archive_files import archive_file
from marketlake.ledger.manifests import manifests_waiting
from tests.integration.fetch.world import (
    BTC,
    BTC_PERPETUAL,
    ETH,
    NOW,
    World,
    archive_task,
    rest_task,
    settings_for,
    window,
)

REPOSITORY = Path(__file__).resolve().parents[3]
WEEK = window("2025-02-10", "2025-02-17")


def test_a_rest_task_lands_every_candle_of_its_window_once(world: World) -> None:
    task = rest_task(over=window("2025-01-01", "2025-02-20"))

    summary = world.fetch([task])

    [answer] = world.manifest(summary).answers
    rows = world.rows(answer)
    assert (answer.status, answer.source, answer.window) == ("answered", "rest", task.window)
    assert rows.num_rows == len(set(rows["open_time"].to_pylist())) == 50 * 24
    assert summary.is_complete
    assert [row.state for row in manifests_waiting(world.connection)] == ["waiting"]


def test_archive_and_rest_give_the_same_candles_and_the_archive_lands_with_its_checksum(world: World) -> None:
    archive, rest = (
        archive_task(start="2025-01-01", period="monthly"),
        rest_task(over=window("2025-01-01", "2025-02-01")),
    )

    by_archive, by_rest = world.manifest(world.fetch([archive, rest])).answers

    kept = ["open_time", "open", "high", "low", "close", "volume", "trade_count", "reported_close_time"]
    assert world.rows(by_archive).select(kept).equals(world.rows(by_rest).select(kept))
    assert world.rows(by_archive).num_rows == 31 * 24
    [file] = by_archive.files
    assert (file.checksum_status, file.source_ref) == ("verified", archive.archive_path)
    known = archive_file(world.connection, "binance", archive.archive_path or "")
    assert known is not None
    assert (known.status, known.published_sha256, known.computed_sha256) == ("verified", file.sha256, file.sha256)


def test_archives_are_downloaded_beside_each_other(world: World) -> None:
    world.sandbox.set_clock(NOW)  # it runs, so that the log tells when each answer was given
    world.sandbox.faults.add("slow", endpoint="/data/", seconds=1)

    summary = world.fetch([archive_task(start=f"2025-02-{day:02}") for day in range(5, 13)])

    given = [parse_instant(entry.instant) for entry in world.sandbox.requests("/data/") if entry.path.endswith(".zip")]
    assert (summary.answered, len(given)) == (8, 8)
    assert (max(given) - min(given)).total_seconds() < 4  # one after the other it is seven and more


def test_a_missing_archive_day_is_answered_by_rest_in_the_same_run(world: World) -> None:
    world.sandbox.faults.add("missing_archive", symbol="BTC/USDT", start="2025-02-12", end="2025-02-13")
    tasks = [archive_task(start=f"2025-02-{day}") for day in (11, 12, 13)]

    summary = world.fetch(tasks)

    manifest = world.manifest(summary)
    assert [(answer.source, answer.status) for answer in manifest.answers] == [
        ("archive", "answered"),
        ("archive", "absent"),
        ("rest", "answered"),
        ("archive", "answered"),
    ]
    assert sum(world.rows(answer).num_rows for answer in manifest.answers if answer.files) == 72
    assert (summary.answered, summary.absent, summary.failed) == (3, 1, 0)
    known = archive_file(world.connection, "binance", tasks[1].archive_path or "")
    assert known is not None
    assert known.status == "absent"


def test_an_absent_archive_that_may_not_fall_back_stays_absent(world: World) -> None:
    summary = world.fetch([archive_task(start="2025-02-20", may_fall_back=False)])

    assert [answer.status for answer in world.manifest(summary).answers] == ["absent"]


def test_a_wrong_checksum_moves_the_file_aside_and_loads_nothing_of_it(world: World) -> None:
    world.sandbox.faults.add("wrong_checksum", symbol="BTC/USDT")
    bad, good = archive_task(start="2025-02-12"), archive_task(ETH, start="2025-02-12")

    summary = world.fetch([bad, good])

    failed, answered = world.manifest(summary).answers
    assert (failed.status, failed.files, answered.status) == ("failed", (), "answered")
    known = archive_file(world.connection, "binance", bad.archive_path or "")
    assert known is not None
    assert known.status == "checksum_mismatch"
    assert known.published_sha256 != known.computed_sha256
    assert known.published_sha256 in summary.errors[0]
    assert known.computed_sha256 in summary.errors[0]
    [(event, details)] = world.connection.execute("select event_type, details from ops.data_quality_logs").fetchall()
    assert (event, details["status"], details["archive"]) == ("validation_failed", known.status, bad.archive_path)
    [aside] = world.area.folder.glob("binance/ohlcv/aside/**/*.zip.????????")
    assert not world.area.absolute(world.area.archive_path("binance", "ohlcv", bad.archive_path or "")).exists()
    assert aside.stat().st_size > 0
    zips = [path for path in world.data_requests() if path.endswith("BTCUSDT-1h-2025-02-12.zip")]
    assert len(zips) == 2


@pytest.mark.parametrize("checksum", ["damaged", "original"])
def test_a_truncated_zip_is_found_before_the_manifest_is_sealed(world: World, checksum: str) -> None:
    world.sandbox.faults.add("damaged_zip", symbol="BTC/USDT", checksum=checksum)

    summary = world.fetch([archive_task(start="2025-02-12"), archive_task(ETH, start="2025-02-12")])

    failed, answered = world.manifest(summary).answers
    assert (failed.status, failed.files, answered.status) == ("failed", (), "answered")
    assert "BTCUSDT-1h-2025-02-12.zip" in summary.errors[0]


def test_an_archive_server_that_stays_down_fails_its_tasks_and_rest_goes_on(world: World) -> None:
    world.sandbox.faults.add("unavailable", endpoint="/data/")
    archive = archive_task(start="2025-02-12")

    summary = world.fetch([archive, rest_task(over=WEEK)])

    assert [answer.status for answer in world.manifest(summary).answers] == ["failed", "answered"]
    assert "HTTP 503" in summary.errors[0]
    known = archive_file(world.connection, "binance", archive.archive_path or "")
    assert known is not None
    assert (known.status, known.attempts) == ("pending", 1)


@pytest.mark.parametrize("fault", ["html_ok", "truncated_body", "unavailable", "reset"])
def test_a_broken_answer_is_asked_for_again(world: World, fault: str) -> None:
    world.sandbox.faults.add(fault, endpoint="klines", times=3)

    summary = world.fetch([rest_task(over=WEEK)])

    [answer] = world.manifest(summary).answers
    assert (answer.status, world.rows(answer).num_rows) == ("answered", 7 * 24)


@pytest.mark.parametrize("fault", ["html_ok", "truncated_body"])
def test_a_body_that_stays_unreadable_fails_one_market_and_is_kept_for_the_dlq(world: World, fault: str) -> None:
    world.sandbox.faults.add(fault, endpoint="klines", symbol="BTC/USDT")

    summary = world.fetch([rest_task(over=WEEK), rest_task(ETH, over=WEEK)])

    failed, answered = world.manifest(summary).answers
    assert (failed.status, answered.status) == ("failed", "answered")
    assert "unreadable body" in (failed.error or "")
    rows = world.rows(failed).to_pylist()
    assert len(rows) == 1
    assert 0 < len(rows[0]["raw_payload"]) <= 2048
    assert rows[0]["open_time"] is None


def test_an_unknown_symbol_fails_alone_and_is_asked_for_once(world: World) -> None:
    nothing = type(BTC)("spot", "NO/SUCH", "NOSUCH")

    summary = world.fetch([rest_task(nothing, over=WEEK), rest_task(nothing, "1m", over=WEEK), rest_task(over=WEEK)])

    assert [answer.status for answer in world.manifest(summary).answers] == ["failed", "failed", "answered"]
    assert "-1121" in summary.errors[0]
    assert summary.failed == 2


def test_too_many_requests_stop_all_calls_until_retry_after_and_go_on_where_they_stopped(world: World) -> None:
    world.sandbox.faults.add("too_many_requests", endpoint="klines", retry_after=1, after=3, times=2)

    summary = world.fetch([rest_task(timeframe="1m", over=window("2025-02-15", "2025-02-20"))])

    [answer] = world.manifest(summary).answers
    rows = world.rows(answer)
    assert rows.num_rows == len(set(rows["open_time"].to_pylist())) == 5 * 1440


def test_a_ban_is_waited_for(world: World) -> None:
    world.sandbox.faults.add("banned", endpoint="klines", seconds=1, times=1)

    summary = world.fetch([rest_task(over=WEEK)])

    assert summary.is_complete


@pytest.mark.parametrize("fault", ["forbidden", "restricted"])
def test_a_refusal_of_the_place_is_not_retried_and_closes_the_source(world: World, fault: str) -> None:
    world.sandbox.faults.add(fault, endpoint="klines")

    summary = world.fetch([rest_task(timeframe=tf, over=WEEK) for tf in ("1m", "5m", "15m", "1h", "4h", "1d")])

    assert summary.failed == 6
    assert len(world.data_requests()) <= 8  # what was in flight already
    assert {answer.status for answer in world.manifest(summary).answers} == {"failed"}


def test_an_empty_page_is_not_the_end(world: World) -> None:
    world.sandbox.faults.add("silence", endpoint="klines", times=1)

    summary = world.fetch([rest_task(timeframe="1m", over=window("2025-02-15", "2025-02-18"))])

    [answer] = world.manifest(summary).answers
    assert (answer.status, answer.window.length.days) == ("answered", 3)
    assert 3 * 1440 - 1000 <= world.rows(answer).num_rows < 3 * 1440


def test_an_open_candle_is_dropped_by_the_exchanges_time(world: World) -> None:
    world.sandbox.faults.add("open_candle", endpoint="klines")

    summary = world.fetch([rest_task(over=window("2025-02-20", "2025-02-20T12:00:00Z"))])

    [answer] = world.manifest(summary).answers
    opened = world.rows(answer)["open_time"].to_pylist()
    assert len(set(opened)) == 12
    assert max(opened).hour == 11


def test_funding_is_paged_and_keeps_its_exact_instants(world: World) -> None:
    task = rest_task(BTC_PERPETUAL, "", over=window("2023-06-01", "2025-02-01"), dataset="funding_rates")

    summary = world.fetch([task], dataset="funding_rates")

    [answer] = world.manifest(summary).answers
    rows = world.rows(answer, "funding_rates")
    assert rows.num_rows == 611 * 3
    assert rows["mark_price"].null_count == 0


def test_funding_archives_are_read_like_rest(world: World) -> None:
    archive = archive_task(BTC_PERPETUAL, "", start="2025-01-01", period="monthly", dataset="funding_rates")
    rest = rest_task(BTC_PERPETUAL, "", over=archive.window, dataset="funding_rates")

    by_archive, by_rest = world.manifest(world.fetch([archive, rest], dataset="funding_rates")).answers

    a, b = world.rows(by_archive, "funding_rates"), world.rows(by_rest, "funding_rates")
    assert a["funding_time_raw"].equals(b["funding_time_raw"])
    assert a["funding_rate"].equals(b["funding_rate"])
    assert set(a["funding_interval_hours"].to_pylist()) == {"8"}


def test_an_exchange_that_cannot_be_reached_fails_every_task_and_says_so(world: World) -> None:
    settings = settings_for(world.sandbox, rest_url="http://127.0.0.1:9")

    summary = world.fetch([rest_task(over=WEEK), archive_task(start="2025-02-12")], settings=settings)

    assert [answer.status for answer in world.manifest(summary).answers] == ["failed", "answered"]
    assert "127.0.0.1:9" in summary.errors[0]
    assert not summary.is_complete
