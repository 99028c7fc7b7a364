"""The fetch step against an exchange on this machine, with a real ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.errors import OtherMarketError, UnavailableError
from marketlake.instants import parse_instant
from marketlake.landing import read_manifest, sealed_manifests, verify_files
from marketlake.ledger.archive_files import archive_file
from marketlake.ledger.budget import budgets, set_limit
from marketlake.ledger.database import connect
from marketlake.ledger.feed_market import claim_market
from marketlake.ledger.manifests import manifests_waiting
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.work import FetchTask
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


def test_a_repeated_fetch_asks_nothing_and_changes_nothing(world: World) -> None:
    run = world.run([rest_task(over=WEEK), archive_task(start="2025-02-12")])
    first = world.fetch_run(run)
    world.sandbox.clear_requests()

    again = world.fetch_run(run)

    assert world.sandbox.requests() == []
    assert again.manifests == first.manifests
    assert len(manifests_waiting(world.connection)) == 1


def test_what_failed_is_asked_for_again_by_a_repeat_and_sealed_apart(world: World) -> None:
    world.sandbox.faults.add("unavailable", endpoint="klines", symbol="BTC/USDT")
    run = world.run([rest_task(over=WEEK), rest_task(ETH, over=WEEK)])
    first = world.fetch_run(run)
    world.sandbox.faults.clear()

    again = world.fetch_run(run)

    assert (first.failed, again.failed, again.answered) == (1, 0, 2)
    assert again.manifests[0] == first.manifests[0]
    assert [answer.market for answer in world.manifest(again).answers] == [BTC]
    assert len(manifests_waiting(world.connection)) == 2


def test_a_task_that_fails_half_way_keeps_the_answered_part(world: World) -> None:
    world.sandbox.faults.add("unavailable", endpoint="klines", start="2025-02-17", end="2025-02-18")

    summary = world.fetch([rest_task(timeframe="1m", over=window("2025-02-15", "2025-02-20"))])

    answered, failed, after = world.manifest(summary).answers
    assert (answered.status, failed.status, after.status) == ("answered", "failed", "answered")
    assert (answered.window.end, failed.window.end) == (failed.window.start, after.window.start)
    for part in (answered, after):
        assert world.rows(part).num_rows == (part.window.length.total_seconds()) / 60
    assert after.window.end == window("2025-02-15", "2025-02-20").end


@pytest.mark.parametrize("fault", ["unavailable", "html_ok"])
def test_a_repeat_after_a_failure_half_way_leaves_what_the_first_attempt_sealed(world: World, fault: str) -> None:
    world.sandbox.faults.add(fault, endpoint="klines", start="2025-02-17", end="2025-02-18")
    run = world.run([rest_task(timeframe="1m", over=window("2025-02-15", "2025-02-20"))])
    assert not world.fetch_run(run).is_complete
    again = world.fetch_run(run)  # the same failure
    world.sandbox.faults.clear()

    last = world.fetch_run(run)

    assert (again.failed, last.failed, len(last.manifests)) == (1, 0, 3)
    for path in last.manifests:
        verify_files(world.area, read_manifest(path))
    [answer] = world.manifest(last).answers
    assert world.rows(answer).num_rows == 5 * 1440


def test_an_archive_whose_times_lie_outside_its_period_is_held_alone_and_rest_serves_it(world: World) -> None:
    world.sandbox.faults.add("unit_switch", symbol="BTC/USDT", unit="s")
    held, good = archive_task(start="2025-02-12"), archive_task(ETH, start="2025-02-12")

    summary = world.fetch([held, good])

    absent, rest, answered = world.manifest(summary).answers
    assert [(one.source, one.status) for one in (absent, rest, answered)] == [
        ("archive", "absent"),
        ("rest", "answered"),
        ("archive", "answered"),
    ]
    assert "is held: row 0 has time" in summary.errors[0]
    assert (world.rows(rest).num_rows, summary.failed) == (24, 0)
    known = archive_file(world.connection, "binance", held.archive_path or "")
    assert known is not None
    assert (known.status, "is held" in (known.error or "")) == ("downloaded", True)
    events = world.connection.execute("select event_type, symbol, details from ops.data_quality_logs").fetchall()
    assert [(event, symbol, details["archive"]) for event, symbol, details in events] == [
        ("validation_failed", "BTC/USDT", held.archive_path)
    ]


def test_a_held_archive_that_may_not_fall_back_fails_its_own_task(world: World) -> None:
    world.sandbox.faults.add("unit_switch", symbol="BTC/USDT", unit="s")

    summary = world.fetch(
        [archive_task(start="2025-02-12", may_fall_back=False), archive_task(ETH, start="2025-02-12")]
    )

    assert [(answer.status, len(answer.files)) for answer in world.manifest(summary).answers] == [
        ("failed", 0),
        ("answered", 1),
    ]


def test_a_forbidden_source_is_left_alone_by_the_next_fetch_too(world: World) -> None:
    world.sandbox.faults.add("forbidden", endpoint="klines")
    world.sandbox.faults.add("forbidden", endpoint="/data/")
    first = world.fetch([rest_task(over=WEEK), archive_task(start="2025-02-12")])
    world.sandbox.clear_requests()

    again = world.fetch([rest_task(over=WEEK), archive_task(start="2025-02-12")])

    assert (first.failed, again.failed, world.sandbox.requests()) == (2, 2, [])
    for scope, error in zip(("archive", "spot"), sorted(again.errors), strict=True):
        assert f"binance {scope} is not asked for" in error
        assert "HTTP 403" in error


@pytest.mark.parametrize("task", [rest_task(over=WEEK), archive_task(start="2025-02-12")])
def test_two_processes_with_one_fetch_do_it_once(world: World, task: FetchTask) -> None:
    world.sandbox.faults.add("slow", endpoint="klines" if task.source == "rest" else "/data/", seconds=1)
    world.run([task], "both")

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: _fetch_in_a_process(world, "both"), range(2)))

    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert len(set(world.data_requests())) == len(world.data_requests())
    [path] = sealed_manifests(world.settings.lake_root)
    verify_files(world.area, read_manifest(path))


def test_two_processes_that_download_one_archive_take_turns(world: World) -> None:
    world.sandbox.faults.add("slow", endpoint="/data/", seconds=1)
    for name in ("one", "two"):
        world.run([archive_task(timeframe="1m", start="2025-02-12")], name)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda name: _fetch_in_a_process(world, name), ("one", "two")))

    assert [done.returncode for done in both] == [0, 0], [done.stderr for done in both]
    assert sum(path.endswith(".zip") for path in world.data_requests()) == 1
    for path in sealed_manifests(world.settings.lake_root):
        manifest = read_manifest(path)
        assert [answer.status for answer in manifest.answers] == ["answered"]
        verify_files(world.area, manifest)
    assert list(world.area.folder.rglob("*.lock")) == list(world.area.folder.rglob("*.partial*")) == []


@pytest.mark.parametrize("task", [rest_task(BTC_PERPETUAL, over=WEEK), archive_task(start="2025-02-12")])
def test_another_market_behind_another_address_is_refused(world: World, task: FetchTask) -> None:
    with Sandbox(SyntheticMarket(seed=8), clock=NOW, frozen=True) as other:
        settings = settings_for(world.sandbox, futures_rest_url=other.url, archive_url=other.url)

        with pytest.raises(OtherMarketError, match=r"'synthetic:8', this lake is fed by 'synthetic:7'; point all"):
            world.fetch([task], settings=settings)

    assert sealed_manifests(world.settings.lake_root) == []


@pytest.mark.parametrize(("point", "requests_left"), [("fetch.task_landed:2", 6), ("fetch.before_seal", 0)])
def test_a_killed_fetch_goes_on_where_it_stopped(world: World, point: str, requests_left: int) -> None:
    days = [archive_task(start=f"2025-02-{day}") for day in (11, 12, 13)]
    tasks = [rest_task(over=WEEK), rest_task(ETH, over=WEEK), *days]
    run = world.run(tasks, "killed")
    killed = _fetch_in_a_process(world, "killed", crash_at=point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert manifests_waiting(world.connection) == []
    world.sandbox.clear_requests()

    summary = world.fetch_run(run)
    asked_again = world.data_requests()

    undisturbed = world.fetch(tasks)
    assert [world.rows(a)["close"] for a in world.manifest(summary).answers] == [
        world.rows(a)["close"] for a in world.manifest(undisturbed).answers
    ]
    verify_files(world.area, world.manifest(summary))
    assert len(asked_again) <= requests_left


def test_a_reissue_that_is_none_costs_one_small_request_and_seals_nothing(world: World) -> None:
    task = archive_task(start="2025-02-12")
    world.fetch([task])
    _mark_loaded(world)
    world.sandbox.clear_requests()

    summary = world.fetch([archive_task(start="2025-02-12", reason="reissue")])

    assert world.data_requests() == [f"/{task.archive_path}.CHECKSUM"]
    assert (summary.manifests, summary.tasks, summary.answered) == ((), 1, 0)


def test_a_reissued_archive_lands_beside_the_old_one(world: World) -> None:
    task = archive_task(start="2025-02-12")
    first = world.fetch([task])
    _mark_loaded(world)
    world.sandbox.faults.add("archive_reissued", symbol="BTC/USDT", start="2025-02-12", end="2025-02-13")

    summary = world.fetch([archive_task(start="2025-02-12", reason="reissue")])

    manifest = world.manifest(summary)
    [new], [old] = manifest.files, world.manifest(first).files
    assert manifest.kind == "reissue"
    assert new.path == old.path.replace(".zip", f".{new.sha256[:8]}.zip")
    assert new.sha256 != old.sha256
    known = archive_file(world.connection, "binance", task.archive_path or "")
    assert known is not None
    assert (known.status, known.loaded_sha256, known.computed_sha256) == ("superseded", old.sha256, new.sha256)
    verify_files(world.area, world.manifest(first))
    verify_files(world.area, manifest)


def test_force_reads_an_unchanged_archive_from_the_landing_area(world: World) -> None:
    task = archive_task(start="2025-02-12")
    first = world.fetch([task])
    world.sandbox.clear_requests()

    summary = world.fetch([archive_task(start="2025-02-12", reason="force")])

    assert world.data_requests() == [f"/{task.archive_path}.CHECKSUM"]
    assert world.manifest(summary).kind == "force"
    assert world.manifest(summary).files[0].sha256 == world.manifest(first).files[0].sha256


def test_force_downloads_again_what_was_damaged_in_the_landing_area(world: World) -> None:
    first = world.fetch([archive_task(start="2025-02-12")])
    [file] = world.manifest(first).files
    path = world.area.absolute(file.path)
    path.write_bytes(path.read_bytes()[:-1] + b"X")

    summary = world.fetch([archive_task(start="2025-02-12", reason="force")])

    verify_files(world.area, world.manifest(summary))
    verify_files(world.area, world.manifest(first))


def test_two_tasks_of_one_archive_download_it_once(world: World) -> None:
    whole = archive_task(start="2025-02-12")
    part = archive_task(
        start="2025-02-12", task_id="part", window=window("2025-02-12T03:00:00Z", "2025-02-12T05:00:00Z")
    )

    summary = world.fetch([whole, part])

    assert [answer.window for answer in world.manifest(summary).answers] == [whole.window, part.window]
    assert world.data_requests().count(f"/{whole.archive_path}") == 1


def test_what_a_fetch_spends_is_in_the_shared_budget(world: World) -> None:
    for _ in range(2):  # once more where a full minute, which begins a new count, came in between
        minute = datetime.now(UTC).minute
        world.fetch([rest_task(timeframe="1m", over=window("2025-02-15", "2025-02-20"))])
        if datetime.now(UTC).minute == minute:
            break

    [row] = [row for row in budgets(world.connection) if row.scope == "spot"]
    assert row.used_weight >= 2 * -(-5 * 1440 // 1000) + 1


@pytest.mark.acceptance
def test_a_fetch_larger_than_the_budget_waits_and_is_never_refused(
    postgres: PostgresAddress, home: Path, market: SyntheticMarket
) -> None:
    with Sandbox(market, clock=NOW, frozen=True, spot_weight_limit=100) as sandbox:
        settings = settings_for(sandbox)
        with connect(settings) as connection:
            claim_market(connection, market.name)
            world = World(settings, connection, sandbox)
            set_limit(connection, "binance", "spot", 100)

            summary = world.fetch([rest_task(timeframe="1m", over=window("2025-01-01", "2025-02-10"))])

    [answer] = world.manifest(summary).answers
    assert world.rows(answer).num_rows == 40 * 1440
    assert {entry.status for entry in sandbox.requests()} == {200}


def test_another_market_behind_the_address_is_refused(world: World) -> None:
    world.connection.execute("update ops.lake set market = 'live'")

    with pytest.raises(OtherMarketError, match="synthetic:7.*'live'"):
        world.fetch([rest_task(over=WEEK)])


@pytest.mark.parametrize("source", ["archive", "rest"])
def test_a_full_disk_stops_the_fetch_with_one_clear_error(world: World, source: str) -> None:
    tasks = [archive_task(timeframe="1m", start="2025-02-12") if source == "archive" else rest_task(over=WEEK)]
    run = world.run(tasks, "full")

    stopped = _fetch_in_a_process(world, "full", largest_file=4096)

    assert "SetupError: no space left for" in stopped.stderr
    assert manifests_waiting(world.connection) == []
    assert list(world.area.folder.glob("**/*.meta.json")) == []
    assert world.fetch_run(run).is_complete


def test_a_database_that_went_away_is_named(world: World) -> None:
    run = world.run([rest_task(over=WEEK)])
    world.connection.close()

    with pytest.raises(UnavailableError, match="database went away"):
        world.fetch_run(run)


def _mark_loaded(world: World) -> None:
    world.connection.execute("update ops.archive_files set status = 'loaded', loaded_sha256 = computed_sha256")


def _fetch_in_a_process(
    world: World, run_id: str, *, crash_at: str = "", largest_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Fetch in a process that is killed at a crash point, or whose files cannot grow beyond so many bytes."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))\n"
    script = (limit if largest_file else "") + (
        "from marketlake.settings import load_settings; from marketlake.ledger.database import connect\n"
        "from marketlake.ledger.runs import run_named; from marketlake.fetch import fetch\n"
        "settings = load_settings(); connection = connect(settings)\n"
        f"fetch(connection, settings, run=run_named(connection, {run_id!r}), exchange='binance', dataset='ohlcv')\n"
    )
    section = dict.fromkeys(("REST_URL", "FUTURES_REST_URL", "ARCHIVE_URL"), world.sandbox.url)
    environ = {f"MARKETLAKE__EXCHANGES__BINANCE__{key}": value for key, value in section.items()}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environ, "PYTHONPATH": str(REPOSITORY / "plugins"), "MARKETLAKE_CRASH_AT": crash_at},
        capture_output=True,
        text=True,
        timeout=120,
    )
