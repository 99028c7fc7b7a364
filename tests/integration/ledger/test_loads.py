"""Tests for loads, manifests, agreements, archives and the publication queue: one transaction, or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from marketlake.datasets import OHLCV
from marketlake.errors import DataError, UsageError
from marketlake.instants import parse_instant
from marketlake.ledger import (
    Agreement,
    ArchiveFile,
    Change,
    Disagreement,
    LoadedArchive,
    LoadRecord,
    MarketFilter,
    MarketVerdict,
    agreements_of,
    answered_windows,
    archive_file,
    archives_of,
    changes_unpublished,
    coverage_of,
    facts_of_refusal,
    files_id_of,
    has_unfinished_load,
    insert_publication,
    load_named,
    loads_of,
    manifests_of,
    manifests_refused,
    manifests_waiting,
    newest_publication,
    next_kind,
    publications_between,
    record_archive,
    record_audit,
    record_failure,
    record_load,
    register_manifest,
    registered_manifest,
    registered_paths,
    verdicts_of,
    wait_again,
)
from marketlake.ledger.disagreements import disagreements_of
from tests.integration.ledger.rows import NOW, load, make_answer, make_manifest, registered, span

WINDOW = span("2025-01-01", "2025-01-02")
BTC = ("ohlcv", "binance", "BTC/USDT", "1h")
ARCHIVE = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-01.zip"


def record(manifest_id: str | None = None, **changes: object) -> LoadRecord:
    return LoadRecord("l1", "bronze.ohlcv", "ohlcv", "binance", manifest_id, "cli__1", **changes)  # type: ignore[arg-type]


def test_a_manifest_waits_from_its_registration_until_its_load(connection: psycopg.Connection) -> None:
    manifest = registered(connection, make_answer(WINDOW))
    assert not register_manifest(connection, manifest, "/somewhere/else.json")
    assert [row.manifest_id for row in manifests_waiting(connection)] == [manifest.manifest_id]
    assert manifests_waiting(connection, "cli__2") == []

    record_load(connection, record(manifest.manifest_id))

    assert manifests_waiting(connection) == []
    [row] = manifests_of(connection, "cli__1")
    assert (row.state, row.load_id, row.now_at) == ("loaded", "l1", NOW)
    assert registered_paths(connection) == {"/landing/binance/ohlcv/manifests/cli__1.json"}


def test_an_unsealed_manifest_is_not_registered(connection: psycopg.Connection) -> None:
    with pytest.raises(DataError, match="is not sealed"):
        register_manifest(connection, make_manifest(make_answer(WINDOW), sealed_at=None), "/x.json")


def test_what_waits_is_answered_already(connection: psycopg.Connection) -> None:
    failed = make_answer(span("2025-01-05", "2025-01-06"), status="failed")
    manifest = registered(connection, make_answer(WINDOW), failed)

    assert answered_windows(connection, "ohlcv", "binance", symbol="BTC/USDT", timeframe="1h") == [WINDOW]
    assert answered_windows(connection, "ohlcv", "binance", symbol="BTC/USDT", timeframe="1m") == []
    record_load(connection, record(manifest.manifest_id))
    assert answered_windows(connection, "ohlcv", "binance", symbol="BTC/USDT", timeframe="1h") == []


def test_a_refused_manifest_is_found_by_its_run_and_by_window_and_waits_again_on_request(
    connection: psycopg.Connection,
) -> None:
    answer = make_answer(WINDOW)
    manifest = registered(connection, answer)
    refusal = facts_of_refusal(answer, exchange="binance", dataset=OHLCV, now=NOW)
    record_failure(connection, manifest.manifest_id, "rows_are_distinct: 1 row", state="refused", facts=refusal)

    assert manifests_waiting(connection) == []
    for found in (
        manifests_refused(connection, run_id="cli__1"),
        manifests_refused(connection, window=span("2025-01-01T05:00:00Z", "2025-02-01")),
        manifests_refused(connection),
    ):
        assert [(row.state, row.error) for row in found] == [("refused", "rows_are_distinct: 1 row")]
    assert manifests_refused(connection, window=span("2025-01-02", "2025-02-01")) == []
    assert [tile.is_refused for tile in coverage_of(connection, *BTC)] == [True]

    assert wait_again(connection, [manifest.manifest_id]) == 1
    assert [row.manifest_id for row in manifests_waiting(connection)] == [manifest.manifest_id]


def test_a_failure_after_the_load_was_recorded_changes_nothing(connection: psycopg.Connection) -> None:
    manifest = registered(connection, make_answer(WINDOW))
    record_load(connection, record(manifest.manifest_id))
    record_failure(connection, manifest.manifest_id, "killed")

    found = registered_manifest(connection, manifest.manifest_id)
    assert found is not None
    assert found.state == "loaded"


def test_a_failure_of_an_unknown_manifest_or_state_is_the_callers_mistake(connection: psycopg.Connection) -> None:
    with pytest.raises(UsageError, match="no manifest nobody is registered"):
        record_failure(connection, "nobody", "x")
    with pytest.raises(UsageError, match="state must be one of failed, refused, damaged"):
        record_failure(connection, "nobody", "x", state="loaded")


def test_a_load_of_an_unknown_manifest_leaves_no_trace(connection: psycopg.Connection) -> None:
    change = Change(*BTC, window=WINDOW)

    with pytest.raises(UsageError, match="no manifest nobody is registered"):
        record_load(connection, record("nobody", changes=(change,)))

    assert loads_of(connection, "cli__1") == []
    assert changes_unpublished(connection) == []


def test_an_audit_is_recorded_with_its_verdicts_and_a_repeat_replaces_it(connection: psycopg.Connection) -> None:
    verdicts = [
        MarketVerdict("binance", "BTC/USDT", 200, 20, True, {"high < low": 20}),
        MarketVerdict("binance", "ETH/USDT", 0, 0),
    ]
    for typed_rows in (1, 200):
        record_audit(connection, record(typed_rows=typed_rows), verdicts)

    assert verdicts_of(connection, "l1") == verdicts
    assert [verdict.rejected_share for verdict in verdicts] == [0.1, 0.0]
    audited = load_named(connection, "l1", "audited")
    assert audited is not None
    assert audited.typed_rows == 200
    assert load_named(connection, "l1", "loaded") is None


def test_a_kind_counts_the_recorded_loads_of_the_same_files(connection: psycopg.Connection) -> None:
    files_id = files_id_of(["b" * 64, "a" * 64], "m")
    assert files_id == files_id_of(["a" * 64, "b" * 64], "other")
    assert files_id_of([], "m") == "m"

    assert next_kind(connection, "bronze.ohlcv", files_id, "load") == "load"
    assert next_kind(connection, "bronze.ohlcv", files_id, "retry") == "retry:1"
    record_load(connection, record(kind="retry:1", files_id=files_id))
    assert next_kind(connection, "bronze.ohlcv", files_id, "retry") == "retry:2"
    assert next_kind(connection, "bronze.ohlcv", files_id, "force") == "force:1"


def test_an_unchanged_disagreement_is_one_row_whichever_load_finds_it(connection: psycopg.Connection) -> None:
    item = Disagreement(*BTC, WINDOW.start, "close", "archive", "105.1", "rest", "105.2", "archive")
    for load_id in ("l1", "l2"):
        load(connection, load_id, disagreements=(item,))

    rows = connection.execute("select field, value, other_value, load_id from ops.source_disagreements").fetchall()
    assert rows == [("close", "105.1", "105.2", "l1")]


def test_disagreements_are_asked_for_by_market_and_by_the_instant_of_their_key(connection: psycopg.Connection) -> None:
    item = Disagreement(*BTC, WINDOW.start, "close", "archive", "105.1", "rest", "105.2", "archive")
    load(connection, "l1", disagreements=(item, replace(item, symbol="ETH/USDT", key_at=WINDOW.end)))

    def found(**named: Any) -> list[str]:
        return [each.symbol for each in disagreements_of(connection, MarketFilter(**named))]

    assert found() == ["BTC/USDT", "ETH/USDT"]
    assert found(symbol="ETH/USDT", timeframe="1h") == ["ETH/USDT"]
    assert found(window=WINDOW) == ["BTC/USDT"]


def test_agreements_keep_the_latest_instant_of_each_range(connection: psycopg.Connection) -> None:
    def agree(load_id: str, start: str, end: str, at: datetime) -> None:
        load(connection, load_id, agreements=(Agreement(*BTC, "rest", span(start, end), at),))

    later = NOW + timedelta(days=1)
    agree("l1", "2025-01-01", "2025-01-05", NOW)
    agree("l2", "2025-01-02", "2025-01-03", later)
    agree("l3", "2025-01-01", "2025-01-05", NOW - timedelta(days=1))

    found = agreements_of(connection, *BTC, "rest", span("2025-01-01", "2025-01-09"))
    assert [(str(item.window)[:10], item.agreed_at) for item in found] == [
        ("2025-01-01", NOW),
        ("2025-01-02", later),
        ("2025-01-03", NOW),
    ]
    assert agreements_of(connection, *BTC, "archive", WINDOW) == []


# Archives ------------------------------------------------------------------------------------------------------------


def asked(status: str, at: datetime = NOW, **changes: object) -> ArchiveFile:
    market = ("BTC/USDT", "BTCUSDT", "1h", WINDOW.start, WINDOW.end)
    return ArchiveFile("binance", ARCHIVE, "ohlcv", *market, status, checked_at=at, **changes)  # type: ignore[arg-type]


def test_each_asking_for_an_archive_counts_and_the_newest_answer_stands(connection: psycopg.Connection) -> None:
    record_archive(connection, asked("absent"))
    record_archive(connection, asked("verified", NOW + timedelta(days=1), published_sha256="aa", computed_sha256="aa"))

    found = archive_file(connection, "binance", ARCHIVE)
    assert found is not None
    assert (found.status, found.attempts, found.checked_at) == ("verified", 2, NOW + timedelta(days=1))
    assert archives_of(connection, "binance", "ohlcv", symbol="BTC/USDT", window=WINDOW) == [found]
    assert archives_of(connection, "binance", "ohlcv", window=span("2025-02-01", "2025-02-02")) == []


def test_a_loaded_archive_stays_loaded_while_its_checksum_is_the_same(connection: psycopg.Connection) -> None:
    record_archive(connection, asked("verified", published_sha256="aa", computed_sha256="aa"))
    item = LoadedArchive(ARCHIVE, "aa", 24, WINDOW.start, WINDOW.end, NOW)
    load(connection, "l1", archives=(item,))

    record_archive(connection, asked("verified", published_sha256="aa", computed_sha256="aa"))
    same = archive_file(connection, "binance", ARCHIVE)
    record_archive(connection, asked("verified", published_sha256="bb", computed_sha256="bb"))
    replaced = archive_file(connection, "binance", ARCHIVE)

    assert same is not None
    assert (same.status, same.row_count, same.load_id, same.loaded_at) == ("loaded", 24, "l1", NOW)
    assert replaced is not None
    assert (replaced.status, replaced.loaded_sha256) == ("verified", "aa")


def test_parts_of_an_archive_add_up_and_a_part_of_other_bytes_leaves_what_is_known(
    connection: psycopg.Connection,
) -> None:
    def known() -> tuple[object, ...]:
        found = archive_file(connection, "binance", ARCHIVE)
        assert found is not None
        return found.loaded_sha256, found.row_count, found.first_at, found.last_at

    record_archive(connection, asked("verified", published_sha256="aa", computed_sha256="aa"))
    noon, last = WINDOW.start + timedelta(hours=12), WINDOW.end - timedelta(hours=1)
    part = {"since": noon, "until": None}
    load(connection, "l1", archives=(LoadedArchive(ARCHIVE, "aa", 12, noon, last, NOW, **part),))
    load(connection, "l2", archives=(LoadedArchive(ARCHIVE, "aa", 24, WINDOW.start, last, NOW),))
    load(connection, "l3", archives=(LoadedArchive(ARCHIVE, "aa", 12, noon, last, NOW, **part),))
    assert known() == ("aa", 24, WINDOW.start, last)

    record_archive(connection, asked("verified", published_sha256="bb", computed_sha256="bb"))
    load(connection, "l4", archives=(LoadedArchive(ARCHIVE, "bb", 12, noon, last, NOW, **part),))
    assert known() == ("aa", 24, WINDOW.start, last)
    load(connection, "l5", archives=(LoadedArchive(ARCHIVE, "bb", 23, WINDOW.start, last, NOW),))
    assert known() == ("bb", 23, WINDOW.start, last)

    load(connection, "l6", archives=(LoadedArchive(ARCHIVE, "aa", 24, WINDOW.start, last, NOW),))
    assert known() == ("bb", 23, WINDOW.start, last)


def test_a_load_that_was_audited_and_never_recorded_is_unfinished(connection: psycopg.Connection) -> None:
    manifest = registered(connection, make_answer(WINDOW))
    record = LoadRecord("l1", "bronze.ohlcv", "ohlcv", "binance", manifest.manifest_id, "cli__1")
    assert not has_unfinished_load(connection, manifest.manifest_id, except_load="l2")

    record_audit(connection, record, [])
    assert has_unfinished_load(connection, manifest.manifest_id, except_load="l2")
    assert not has_unfinished_load(connection, manifest.manifest_id, except_load="l1")
    record_load(connection, record)
    assert not has_unfinished_load(connection, manifest.manifest_id, except_load="l2")


def test_a_malformed_archive_status_is_refused(connection: psycopg.Connection) -> None:
    with pytest.raises(UsageError, match="status must be one of pending, downloaded"):
        record_archive(connection, asked("lost"))


# Publications --------------------------------------------------------------------------------------------------------


def publish(connection: psycopg.Connection) -> int:
    [change, *_] = changes_unpublished(connection)
    with connection.transaction(), connection.cursor() as cursor:
        return insert_publication(
            cursor,
            dataset=change.dataset,
            exchange=change.exchange,
            symbol=change.symbol,
            timeframe=change.timeframe,
            window=change.window,
            rows_written=24,
            rows_deleted=0,
            run_id="cli__1",
            change_ids=[change.change_id],
        )


def test_a_change_waits_until_a_publication_holds_it(connection: psycopg.Connection) -> None:
    load(connection, "l1", changes=(Change(*BTC, window=WINDOW),))
    assert [change.window for change in changes_unpublished(connection)] == [WINDOW]

    number = publish(connection)

    assert changes_unpublished(connection) == []
    [publication] = publications_between(connection, 0, number)
    assert (publication.publication_id, publication.rows_written, publication.range_end) == (number, 24, WINDOW.end)
    assert newest_publication(connection) == number


def test_a_publication_that_is_rolled_back_leaves_its_change_waiting(connection: psycopg.Connection) -> None:
    load(connection, "l1", changes=(Change(*BTC, window=WINDOW),))

    with connection.transaction(force_rollback=True):
        publish(connection)

    assert len(changes_unpublished(connection)) == 1
    assert newest_publication(connection) == 0


def test_loads_are_listed_by_run(connection: psycopg.Connection) -> None:
    load(connection, "l1", appended_rows=5, known_at=parse_instant("2025-01-01"), details={"suite": "ok"})

    [row] = loads_of(connection, "cli__1")
    assert (row.load_id, row.step, row.appended_rows, row.details) == ("l1", "loaded", 5, {"suite": "ok"})
