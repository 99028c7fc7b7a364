"""What a run asks for of what was asked for before: holes, rejected rows, re-issues, refused and unloaded manifests."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from marketlake.datasets import dataset_named
from marketlake.landing import LandingArea, seal_manifest
from marketlake.ledger import (
    ArchiveFile,
    Change,
    Fact,
    LoadedArchive,
    claim_market,
    facts_of_refusal,
    manifests_waiting,
    record_archive,
    record_failure,
    register_manifest,
    rejection_cause,
)
from marketlake.rules import rules_for
from marketlake.work import Answer, Manifest
from tests.integration.planning.planner import BTC, HOUR, NOW, SPOT, Planner, brief, span

DAY = ("2025-03-01", "2025-03-02")
HOLED = (("2025-03-01", "2025-03-01T02:00:00Z"), ("2025-03-01T04:00:00Z", "2025-03-02"))


@pytest.mark.parametrize(
    ("holes", "now", "asked"),
    [
        pytest.param("none", "2025-03-10T23:00:00Z", False, id="scheduled, on the same day"),
        pytest.param("none", "2025-03-11T00:00:00Z", True, id="scheduled, on the next day"),
        pytest.param("due", "2025-03-10T23:00:00Z", False, id="daily, on the same day"),
        pytest.param("all", "2025-03-10T12:31:00Z", True, id="by hand, at once"),
    ],
)
def test_a_scheduled_run_waits_for_an_open_hole_and_a_run_by_hand_does_not(
    planner: Planner, holes: str, now: str, asked: bool
) -> None:
    planner.bring(*HOLED, over=DAY)

    assert bool(planner.plan(DAY, now=now, holes=holes).tasks) == asked


def test_a_hole_is_asked_from_the_archive_of_its_day_and_then_by_rest(planner: Planner) -> None:
    planner.bring(*HOLED, over=DAY)
    first = planner.plan(DAY, holes="all")
    planner.bring(over=("2025-03-01T02:00:00Z", "2025-03-01T04:00:00Z"), source="archive")
    second = planner.plan(DAY, holes="all")

    assert brief(first.tasks) == [("archive", "03-01 02:00", "03-01 04:00", "hole")]
    assert first.tasks[0].archive_path == "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-03-01.zip"
    assert brief(second.tasks) == [("rest", "03-01 02:00", "03-01 04:00", "hole")]


def test_only_the_daily_run_also_asks_for_due_holes_before_its_window(planner: Planner) -> None:
    planner.bring(*HOLED, over=DAY)
    window, later = ("2025-03-11", "2025-03-12"), "2025-03-11T01:00:00Z"

    asked = {holes: brief(planner.plan(window, now=later, holes=holes).tasks) for holes in ("none", "due", "all")}

    hole = ("archive", "03-01 02:00", "03-01 04:00", "hole")
    assert hole in asked["due"]
    assert hole not in asked["none"] + asked["all"]


def test_a_settled_hole_is_asked_for_by_nobody(planner: Planner) -> None:
    for number in range(3):
        planner.bring(*HOLED, over=DAY, now=f"2025-03-1{number}T12:00:00Z")

    assert planner.plan(DAY, holes="all", now="2025-03-20").tasks == ()


def test_a_failed_range_is_due_at_once_and_planned_like_a_new_one(planner: Planner) -> None:
    planner.record(
        Fact("ohlcv", "binance", "BTC/USDT", "1h", span(*DAY), "failed", "archive", "fetch_failed", retry_at=NOW)
    )

    assert brief(planner.plan(DAY).tasks) == [("archive", "03-01", "03-02", "hole")]


def test_refused_rows_are_fetched_anew_only_by_force(planner: Planner) -> None:
    answer = Answer("t", SPOT, "1h", "rest", span(*DAY), "answered", NOW)
    planner.record(*facts_of_refusal(answer, exchange="binance", dataset=dataset_named("ohlcv"), now=NOW))

    assert planner.plan(DAY, holes="all").tasks == ()
    assert brief(planner.plan(DAY, mode="force").tasks) == [("archive", "03-01", "03-02", "force")]


def test_what_was_rejected_for_good_is_asked_for_again_once_the_rules_change(planner: Planner) -> None:
    now_valid = rules_for(dataset_named("ohlcv"), planner.settings.quality).version
    hole = span("2025-03-01T02:00:00Z", "2025-03-01T03:00:00Z")
    for version in (now_valid, "v0"):
        planner.record(Fact(*BTC, window=hole, state="revoked", cause="restored"))
        planner.record(Fact(*BTC, window=hole, state="rejected", source="rest", cause=rejection_cause(version)))
        planner.bring(("2025-03-01", "2025-03-01T02:00:00Z"), ("2025-03-01T03:00:00Z", "2025-03-02"), over=DAY)
        plan = planner.plan(DAY)
        assert bool(plan.tasks) == (version == "v0")

    assert [(fact.state, fact.cause, fact.window) for fact in plan.facts] == [("revoked", "rules_changed", hole)]
    planner.save(plan)
    again = planner.plan(DAY)
    assert (brief(again.tasks), again.facts) == ([("rest", "03-01 02:00", "03-01 03:00", "new")], ())


def test_many_small_holes_of_a_day_that_is_not_published_are_one_request(planner: Planner) -> None:
    window = ("2025-03-10", "2025-03-10T10:00:00Z")
    present = [(f"2025-03-10T0{hour}:00:00Z", f"2025-03-10T0{hour}:59:00Z") for hour in range(9)]
    planner.bring(*present, over=window, timeframe="1m")

    plan = planner.plan(window, timeframes=["1m"], holes="all")

    assert brief(plan.tasks) == [("rest", "03-10 00:59", "03-10 10:00", "hole")]


def test_force_asks_for_the_whole_window_again(planner: Planner) -> None:
    planner.bring(("2025-03-08", "2025-03-10"))

    assert brief(planner.plan(("2025-03-08", "2025-03-10"), mode="force").tasks) == [
        ("archive", "03-08", "03-09", "force"),
        ("rest", "03-09", "03-10", "force"),
    ]


@pytest.mark.parametrize(("source", "count"), [("archive", 2), ("rest", 1)])
def test_a_named_source_alone_is_asked_over_the_whole_window(planner: Planner, source: str, count: int) -> None:
    window = ("2025-03-08", "2025-03-09T12:00:00Z")
    planner.bring(window)

    plan = planner.plan(window, source=source)

    assert {(task.source, task.reason, task.may_fall_back) for task in plan.tasks} == {(source, "source", False)}
    assert len(plan.tasks) == count
    assert sum((task.window.length for task in plan.tasks), timedelta(0)) == 36 * HOUR


def loaded_archive(planner: Planner, status: str = "verified") -> str:
    path = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-03-01.zip"
    period = span(*DAY)
    market = ("BTC/USDT", "BTCUSDT", "1h", period.start, period.end)
    record_archive(
        planner.connection,
        ArchiveFile("binance", path, "ohlcv", *market, status, published_sha256="aa", checked_at=NOW),
    )
    if status == "verified":
        planner.record(archives=(LoadedArchive(path, "aa", 24, period.start, period.end, NOW),))
    return path


def test_loaded_archives_of_the_window_are_asked_for_their_checksum_on_request_only(planner: Planner) -> None:
    path = loaded_archive(planner)
    planner.bring(DAY)

    assert planner.plan(DAY).tasks == ()
    [task] = planner.plan(DAY, check_reissued=True).tasks
    assert (task.source, task.reason, task.archive_path, task.may_fall_back) == ("archive", "reissue", path, False)
    assert planner.plan(("2025-03-02", "2025-03-02T01:00:00Z"), check_reissued=True).tasks[0].reason == "new"


def test_an_archive_known_to_be_absent_goes_to_rest_for_a_day(planner: Planner) -> None:
    loaded_archive(planner, "absent")

    assert [task.source for task in planner.plan(DAY).tasks] == ["rest"]
    assert [task.source for task in planner.plan(DAY, now="2025-03-11T12:30:00Z").tasks] == ["archive"]


def sealed(planner: Planner, status: str = "answered") -> tuple[Manifest, Any]:
    answer = Answer("t", SPOT, "1h", "rest", span(*DAY), status, NOW)
    manifest = Manifest("cli__0", "binance", "ohlcv", "recorded", 0.0, NOW, (answer,))
    area = LandingArea(planner.settings.lake_root)
    path = seal_manifest(area, manifest, sealed_at=NOW)
    return replace(manifest, sealed_at=NOW), path


def test_a_manifest_that_was_sealed_but_not_registered_is_found_and_its_window_is_not_fetched_again(
    planner: Planner,
) -> None:
    manifest, _ = sealed(planner)

    plan = planner.plan(DAY)
    assert (plan.tasks, plan.unfinished.summary()["sealed"]) == ((), 1)
    planner.save(plan)

    assert [row.manifest_id for row in manifests_waiting(planner.connection)] == [manifest.manifest_id]
    again = planner.plan(DAY)
    assert (again.tasks, again.unfinished.summary()["sealed"], again.unfinished.summary()["waiting"]) == ((), 0, 1)


def test_only_manifests_sealed_since_the_last_plan_are_looked_for(planner: Planner) -> None:
    claim_market(planner.connection, "recorded")
    planner.save(planner.plan(DAY))
    _, path = sealed(planner)

    found = planner.plan(DAY).unfinished.summary()["sealed"]
    long_ago = NOW.timestamp() - 10 * 365 * 86_400
    os.utime(path, (long_ago, long_ago))
    missed = planner.plan(DAY).unfinished.summary()["sealed"]

    assert (found, missed) == (1, 0)


def test_a_waiting_manifest_whose_answer_failed_keeps_nobody_from_fetching(planner: Planner) -> None:
    manifest, path = sealed(planner, "failed")
    register_manifest(planner.connection, manifest, path)

    assert len(planner.plan(DAY).tasks) == 1


def test_refused_manifests_unpublished_changes_and_unbuilt_publications_are_counted(planner: Planner) -> None:
    manifest, path = sealed(planner)
    register_manifest(planner.connection, manifest, path)
    record_failure(planner.connection, manifest.manifest_id, "BTC/USDT: 12 of 100 rows", state="refused")
    planner.record(changes=(Change("ohlcv", "binance", "BTC/USDT", "1h", span(*DAY)),))

    summary = planner.plan(DAY).unfinished.summary()
    elsewhere = planner.plan(("2025-02-01", "2025-02-02")).unfinished.summary()

    assert summary == {"sealed": 0, "waiting": 0, "refused": 1, "changes": 1, "publications": 0}
    assert elsewhere["refused"] == 0
