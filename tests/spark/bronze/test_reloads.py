"""What is loaded again: after a kill, after a refusal, after other rules, from the same bytes, in another order."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake

from marketlake import ledger
from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.instants import DAY as ONE_DAY
from marketlake.instants import Window
from marketlake.lake.files import table_path
from marketlake.settings import PriceBound
from marketlake.work import Manifest, Market
from spark_jobs.bronze import commit
from spark_jobs.bronze.load import load_waiting
from spark_jobs.lib.delta_tables import bronze_spec, ensure_table
from tests.landed import BTC_PERPETUAL, ETH, NOW, Landing, funding, kline, window
from tests.spark.lake import SparkLake

SOL = Market("spot", "SOL/USDT", "SOLUSDT")
DAY = window("2024-01-01", "2024-01-02")
NEXT_DAY = window("2024-01-02", "2024-01-03")
HOURS = [kline(f"2024-01-01T{hour:02}:00") for hour in range(24)]


class Killed(BaseException):
    """What no handler of an error catches."""


def minutes(count: int, bad: int = 0, **changed: str) -> list[list[object]]:
    """A candle for each minute, the first `bad` of which have a high below their low; `m5="106"` changes a close."""
    rows = [kline(DAY.start + timedelta(minutes=n), changed.get(f"m{n}", "105"), timeframe="1m") for n in range(count)]
    return [[*row[:2], "80", *row[3:]] for row in rows[:bad]] + rows[bad:]


def kill_at(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Die at a crash point of the audit or the commit."""

    def pass_or_die(name: str) -> None:
        if name == point:
            raise Killed

    for module in (commit, sys.modules["spark_jobs.audit.judge"]):
        monkeypatch.setattr(module, "crash_point", pass_or_die)


def load_and_die(lake: SparkLake, monkeypatch: pytest.MonkeyPatch, landing: Landing, **sealing: Any) -> Manifest:
    """Load what the landing holds and die between bronze and ledger."""
    manifest = landing.seal(**sealing)
    with monkeypatch.context() as patch:
        kill_at(patch, "load.between_bronze_and_ledger")
        with pytest.raises(Killed):
            lake.load((landing, manifest))
    return manifest


def with_quality(lake: SparkLake, **changes: Any) -> SparkLake:
    quality = lake.settings.quality.model_copy(update=changes)
    return replace(lake, settings=lake.settings.model_copy(update={"quality": quality}))


def closes(lake: SparkLake, symbol: str) -> list[tuple[int, Decimal]]:
    rows = lake.rows("ohlcv", "symbol", "revision", "close")
    return [(revision, close) for of, revision, close in rows if of == symbol]


def changed(lake: SparkLake, load_id: str) -> list[tuple[str, Window]]:
    rows = lake.connection.execute(
        "select symbol, range_start, range_end from ops.changes where load_id = %s order by 1, 2", [load_id]
    ).fetchall()
    return [(symbol, Window(start, end)) for symbol, start, end in rows]


def half_refused(lake: SparkLake) -> Manifest:
    """Load a manifest of which SOL passes and ETH is refused."""
    landing = lake.landing()
    landing.rest(minutes(120), DAY, market=SOL, timeframe="1m")
    landing.rest(minutes(120, bad=60), DAY, market=ETH, timeframe="1m")
    manifest = landing.seal()
    (record,) = lake.load((landing, manifest))
    assert record.manifest_state == "refused"
    return manifest


def test_a_window_that_failed_to_fetch_stays_due_though_its_market_is_refused(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest(minutes(120, bad=60), DAY, market=ETH, timeframe="1m")
    landing.silent(NEXT_DAY, market=ETH, timeframe="1m")
    manifest = landing.seal()
    lake.load((landing, manifest))

    refused, unanswered = lake.tiles("ohlcv", "ETH/USDT", "1m")
    assert (refused.window, refused.is_refused, refused.is_due(NOW)) == (DAY, True, False)
    assert (unanswered.window, unanswered.cause, unanswered.is_due(NOW)) == (NEXT_DAY, "fetch_failed", True)

    ledger.wait_again(lake.connection, [manifest.manifest_id])
    with_quality(lake, refuse_share=0.9).drain()
    assert [tile.is_due(NOW) for tile in lake.tiles("ohlcv", "ETH/USDT", "1m") if tile.window == NEXT_DAY] == [True]


def test_two_waiting_manifests_of_the_same_bytes_are_both_judged_whatever_their_windows(lake: SparkLake) -> None:
    landings = [lake.landing() for _ in range(3)]
    for number, (landing, span) in enumerate(zip(landings, (DAY, DAY, Window(DAY.start, at_noon())), strict=True)):
        landing.rest(HOURS, span)
        landing.sealed = number
    manifests = [landing.seal() for landing in landings]

    done = lake.load(*zip(landings, manifests, strict=True))

    assert [record.kind for record in done] == ["load", "force:1", "force:2"]
    assert [(record.typed_rows, record.appended_rows) for record in done] == [(24, 24), (24, 0), (12, 0)]
    assert [lake.state(manifest)[0] for manifest in manifests] == ["loaded"] * 3


def test_bytes_that_a_killed_load_committed_are_no_error_in_another_window(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lake.landing(), lake.landing()
    first.rest(HOURS, DAY)
    killed = load_and_die(lake, monkeypatch, first, now=NOW + ONE_DAY)
    second.rest(HOURS, Window(DAY.start, at_noon()))
    second.sealed = 5
    earlier = second.seal()

    done = lake.load((second, earlier))

    assert [(record.kind, record.appended_rows) for record in done] == [("force:1", 0), ("load", 24)]
    assert [lake.state(manifest)[0] for manifest in (killed, earlier)] == ["loaded", "loaded"]
    assert len(lake.rows("ohlcv", "revision")) == 24


def test_a_manifest_that_another_process_judged_meanwhile_is_left_alone(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest(HOURS, DAY)
    ledger.register_manifest(lake.connection, landing.seal(), landing.path)
    seen_waiting = ledger.manifests_waiting(lake.connection)
    lake.drain()
    version = DeltaTable(table_path(lake.settings.lake_root, OHLCV.table)).version()

    assert load_waiting(lake.spark, lake.settings, lake.connection, seen_waiting) == []

    assert DeltaTable(table_path(lake.settings.lake_root, OHLCV.table)).version() == version
    assert len(ledger.loads_of(lake.connection, "run-1")) == 2


def test_an_observation_that_bronze_holds_is_not_appended_again_by_a_retry(lake: SparkLake) -> None:
    manifest = half_refused(lake)
    newer = lake.landing()
    newer.sealed = 5
    newer.rest(minutes(120, m10="106"), DAY, market=SOL, timeframe="1m", received_at="2026-05-03", reason="force")
    lake.load((newer, newer.seal(kind="force")))

    for _ in range(2):
        ledger.wait_again(lake.connection, [manifest.manifest_id])
        (record,) = lake.drain()
        assert record.appended_rows == 0

    assert sorted(closes(lake, "SOL/USDT"))[-1] == (1, Decimal("106"))
    assert len(closes(lake, "SOL/USDT")) == 121
    assert lake.current(OHLCV, "close")[10] == (Decimal("106"),)


def test_a_raised_limit_between_a_kill_and_its_repeat_loses_no_rows(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = lake.landing()
    landing.rest(minutes(120), DAY, market=SOL, timeframe="1m")
    landing.rest(minutes(120, bad=60), DAY, market=ETH, timeframe="1m")
    load_and_die(lake, monkeypatch, landing)
    assert (len(closes(lake, "SOL/USDT")), len(closes(lake, "ETH/USDT"))) == (120, 0)

    (record,) = with_quality(lake, refuse_share=0.9).drain()

    assert (record.manifest_state, record.kind) == ("loaded", "retry:1")
    assert (len(closes(lake, "SOL/USDT")), len(closes(lake, "ETH/USDT"))) == (120, 60)
    assert {symbol for symbol, _ in changed(lake, record.load_id)} == {"ETH/USDT", "SOL/USDT"}


def test_a_row_that_a_killed_load_committed_is_published_though_the_rules_changed(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lake.landing(), lake.landing()
    first.rest(HOURS, DAY)
    lake.load(first)
    second.sealed = 5
    second.rest([kline("2024-01-01T05:00", "106")], DAY, received_at="2026-05-02", reason="force")
    load_and_die(lake, monkeypatch, second, kind="force")
    bounds = (PriceBound(symbol="XRP/USDT", low=1, high=2, valid_from="2020-01-01"),)

    (record,) = with_quality(lake, price_bounds=bounds).drain()

    assert (record.kind, record.appended_rows) == ("retry:1", 0)
    assert changed(lake, record.load_id) == [("ETH/USDT", window("2024-01-01T05:00", "2024-01-01T06:00"))]


def test_a_day_that_failed_and_then_is_answered_without_rows_is_published_once(lake: SparkLake) -> None:
    failed, empty, again = lake.landing(), lake.landing(), lake.landing()
    failed.silent(DAY)
    lake.load(failed)
    empty.sealed, again.sealed = 5, 9
    empty.rest([], DAY)
    (first,) = lake.load(empty)
    again.rest([], DAY, received_at="2026-05-02")
    (second,) = lake.load(again)

    assert changed(lake, first.load_id) == [("ETH/USDT", DAY)]
    assert changed(lake, second.load_id) == []


def test_a_repeat_records_the_version_and_the_instant_of_its_commit(
    lake: SparkLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = lake.landing()
    landing.rest(HOURS, DAY)
    load_and_die(lake, monkeypatch, landing)
    table = DeltaTable(table_path(lake.settings.lake_root, OHLCV.table))
    committed = table.version()
    table.alter.set_table_properties({"delta.targetFileSize": "25165825"})

    (record,) = lake.drain()

    assert (record.kind, record.delta_version, record.appended_rows) == ("load", committed, 24)
    assert {known_at for (known_at,) in lake.rows("ohlcv", "known_at")} == {
        record.known_at.replace(tzinfo=None) if record.known_at else None
    }


@pytest.mark.usefixtures("on_both_ways")
def test_a_repeat_whose_id_the_table_forgot_appends_nothing_twice(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest(HOURS, DAY)
    (record,) = lake.load(landing)
    rows = DeltaTable(table_path(lake.settings.lake_root, OHLCV.table)).to_pyarrow_table()
    forget(lake, record.load_id)
    path = table_path(lake.settings.lake_root, OHLCV.table)
    write_anew(path, rows)

    (again,) = lake.drain()

    assert (again.load_id, again.appended_rows) == (record.load_id, 0)
    assert len(lake.rows("ohlcv", "revision")) == 24


def test_a_row_that_is_rejected_again_is_in_the_queue_once(lake: SparkLake, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [*HOURS[:5], kline("2024-01-01T05:00", high="1"), *HOURS[6:]]
    first, second = lake.landing(), lake.landing()
    first.rest(bad, DAY)
    lake.load(first)
    second.sealed = 5
    second.rest(bad, DAY, received_at="2026-05-02")
    load_and_die(lake, monkeypatch, second)
    files = {path.name: path.read_bytes() for path in lake.settings.dlq_folder.glob("*.json")}
    lake.drain()

    letters = lake.table("bronze.ohlcv_dlq").collect()
    assert len(letters) == 1
    assert {path.name: path.read_bytes() for path in lake.settings.dlq_folder.glob("*.json")} == files
    assert len(files) == 1


@pytest.mark.usefixtures("on_both_ways")
@pytest.mark.parametrize("dataset", ["ohlcv", "funding_rates"])
def test_a_row_older_than_an_agreement_does_not_become_current(lake: SparkLake, dataset: str) -> None:
    for number, (value, day) in enumerate((("0.1", 1), ("0.1", 3), ("0.2", 2))):
        landing = lake.landing(dataset)
        landing.sealed = number * 5
        received_at = f"2026-05-0{day}"
        if dataset == "ohlcv":
            landing.rest([kline("2024-01-01T05:00", value, low="0.05")], DAY, received_at=received_at)
        else:
            rows = [funding("2024-01-01T08:00", value)]
            landing.rest(rows, DAY, market=BTC_PERPETUAL, received_at=received_at)
        (record,) = lake.load(landing)

    assert record.appended_rows == 2
    column = "close" if dataset == "ohlcv" else "funding_rate"
    rows = lake.rows(dataset, "revision", column)
    assert [(revision, str(value.normalize())) for revision, value in rows] == [(0, "0.1"), (1, "0.2"), (2, "0.1")]
    registered = OHLCV if dataset == "ohlcv" else FUNDING_RATES
    assert lake.current(registered, column) == [(Decimal("0.1"),)]


def test_a_candle_off_the_grid_explains_no_hole(lake: SparkLake) -> None:
    landing = lake.landing()
    landing.rest([*HOURS[:6], kline("2024-01-01T05:30"), *HOURS[7:]], DAY)

    (record,) = lake.load(landing)

    assert record.rejected_rows == 1
    assert [(tile.window, tile.state) for tile in lake.tiles("ohlcv", "ETH/USDT", "1h")] == [
        (window("2024-01-01", "2024-01-01T06:00"), "present"),
        (window("2024-01-01T06:00", "2024-01-01T07:00"), "pending"),
        (window("2024-01-01T07:00", "2024-01-02"), "present"),
    ]


def test_rows_that_end_too_early_are_told_of(lake: SparkLake, caplog: pytest.LogCaptureFixture) -> None:
    landing = lake.landing()
    landing.rest(HOURS[:5], DAY)

    (record,) = lake.load(landing)

    assert record.manifest_state == "loaded"
    recorded = ledger.load_named(lake.connection, record.load_id, "loaded")
    assert recorded is not None
    assert recorded.details["failed_expectations"] == ["newest_candle_is_fresh"]
    warned = [entry.getMessage() for entry in caplog.records if entry.name == "marketlake.audit"]
    assert any("expectation newest_candle_is_fresh failed" in text for text in warned)


def at_noon() -> Any:
    return DAY.start + ONE_DAY / 2


def forget(lake: SparkLake, load_id: str) -> None:
    """Put the ledger back to before the load was recorded."""
    lake.connection.execute("delete from ops.loads where load_id = %s", [load_id])
    lake.connection.execute("delete from ops.changes where load_id = %s", [load_id])
    lake.connection.execute("update ops.manifests set state = 'waiting', load_id = null")


def write_anew(path: str, rows: Any) -> None:
    """Make the table again with the same rows and without a memory of who wrote them."""
    shutil.rmtree(path)
    root = path[: -len("/bronze/ohlcv")]
    ensure_table(root, bronze_spec(OHLCV))
    write_deltalake(path, rows, mode="append")
