"""The fetch step done again: after failures, kills, re-issues, beside another process, on a full disk."""

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
