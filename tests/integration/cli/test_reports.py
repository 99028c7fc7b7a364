"""coverage, gaps, sources, dlq list and ledger mirror over a ledger and a lake that hold a known story."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from marketlake import Lake, ledger
from marketlake.cli import main
from marketlake.instants import Window
from marketlake.ledger import Disagreement, Fact, LoadRecord, Run
from marketlake.settings import load_settings

START = datetime(2021, 4, 25, tzinfo=UTC)
MARKET = ("ohlcv", "binance", "BTC/USDT", "1m")
SEEN = datetime(2025, 3, 5, tzinfo=UTC)


def fact(first: int, last: int, state: str, **more: Any) -> Fact:
    window = Window(START + timedelta(minutes=first), START + timedelta(minutes=last))
    return Fact(*MARKET, window=window, state=state, source="archive", **more)


@pytest.fixture
def story(postgres, home) -> Path:
    """A thousand minutes of one market: an outage of 284, an open hole of 3, a value on which two sources differ."""
    facts = (
        fact(0, 241, "present"),
        fact(241, 525, "exchange_down", cause="calendar"),
        fact(525, 900, "present"),
        fact(900, 903, "pending", cause="omitted", attempt_day=SEEN.date(), retry_at=SEEN + timedelta(days=1)),
        fact(903, 1000, "present"),
    )
    differs = Disagreement(*MARKET, START, "close", "archive", "105", "rest", "105.5", "archive")
    with ledger.connect(load_settings()) as connection:
        ledger.create_run(connection, Run("r1", "cli", None, "incremental", {}, SEEN))
        load = LoadRecord(
            *("l1", "bronze.ohlcv", "ohlcv", "binance", None, "r1"), facts=facts, disagreements=(differs,)
        )
        ledger.record_load(connection, load)
    return home


def letter(number: int, reasons: list[str], load_id: str, seen_at: datetime) -> dict[str, Any]:
    return {
        "reject_id": f"id{number}", "dataset": "ohlcv", "raw_payload": '["1745539200000"]', "dlq_reasons": reasons,
        "rule_version": "v", "error": "schema_validation_failed", "exchange": "binance", "symbol": "BTC/USDT",
        "timeframe": "1m", "open_time": START + timedelta(minutes=number), "source": "archive", "source_ref": "a.zip",
        "load_id": load_id, "seen_at": seen_at, "partition_date": seen_at.date(),
    }  # fmt: skip


@pytest.fixture
def letters(story) -> Path:
    rows = [
        letter(1, ["missing price"], "l1", SEEN),
        letter(2, ["high < low", "negative volume"], "l1", SEEN),
        letter(2, ["high < low"], "l2", SEEN + timedelta(days=1)),
    ]
    path = story / "delta_lake" / "bronze" / "ohlcv_dlq"
    write_deltalake(str(path), pa.Table.from_pylist(rows), partition_by=["partition_date"])
    return story


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_coverage_counts_candles_and_names_each_hole(story, capsys):
    market = shown(capsys, "coverage")[0]
    assert (market["expected"], market["present"], market["missing"]) == (1000, 713, 287)
    assert [(h["missing"], h["state"], h["attempts"], h["is_open"]) for h in market["holes"]] == [
        (284, "exchange_down", 0, False),
        (3, "pending", 1, True),
    ]
    assert market["holes"][1]["retry_at"] == "2025-03-06T00:00:00Z"


def test_coverage_of_a_window_is_cut_to_it(story, capsys):
    market = shown(capsys, "coverage", "--start", "2021-04-25T04:00:00Z", "--end", "2021-04-25T05:00:00Z")[0]
    assert (market["expected"], market["present"]) == (60, 1)
    assert [hole["missing"] for hole in market["holes"]] == [59]


def test_people_see_the_holes_as_a_table(story, capsys):
    assert main(["coverage", "--symbol", "BTC/USDT"]) == 0
    text = capsys.readouterr().out
    assert "71.3%" in text
    assert "exchange_down" in text
    assert "2025-03-06T00:00:00Z" in text


def test_a_market_never_asked_for_is_no_error(story, capsys):
    assert shown(capsys, "coverage", "--timeframe", "1h") == []


def test_gaps_have_cause_status_and_evidence(story, capsys):
    found = shown(capsys, "gaps", "--symbol", "BTC/USDT", "--timeframe", "1m")
    assert [(gap["missing_count"], gap["cause"], gap["status"]) for gap in found] == [
        (284, "exchange_down", "unfillable"),
        (3, "pending", "open"),
    ]
    assert [gap["missing_count"] for gap in shown(capsys, "gaps", "--status", "open")] == [3]


def test_sources_shows_both_values_of_the_markets_and_the_window_asked_for(story, capsys):
    [found] = shown(capsys, "sources", "--symbol", "BTC/USDT")
    assert (found["field"], found["value"], found["other_value"]) == ("close", "105", "105.5")
    assert len(shown(capsys, "sources", "--start", "2021-04-25", "--end", "2021-04-25T00:01:00Z")) == 1
    assert shown(capsys, "sources", "--start", "2021-04-25T00:01:00Z", "--end", "2021-04-26") == []
    assert shown(capsys, "sources", "--timeframe", "1h") == []


def test_the_mirror_lets_the_sdk_read_gaps_without_the_database(story, capsys, monkeypatch):
    written = shown(capsys, "ledger", "mirror")["written"]
    assert written["control.coverage_gaps"] == 2
    monkeypatch.setenv("MARKETLAKE__DATABASE__PORT", "1")
    rows = Lake(story).gaps("BTC/USDT", status="open").to_pylist()
    assert [row["missing_count"] for row in rows] == [3]
    assert len(Lake(story).gaps(start="2021-04-25T10:00:00Z", end="2021-04-26")) == 1
    assert shown(capsys, "sql", "select count(*) as n from control.coverage_gaps") == [{"n": 2}]


def test_the_mirror_of_an_unchanged_ledger_writes_nothing(story, capsys):
    shown(capsys, "ledger", "mirror")
    assert shown(capsys, "ledger", "mirror") == {"written": {}}


def test_a_row_rejected_twice_is_listed_once_with_its_history(letters, capsys):
    rows = shown(capsys, "dlq", "list")
    assert [(row["reject_id"], row["attempts"], row["status"]) for row in rows] == [
        ("id2", 2, "new"),
        ("id1", 1, "new"),
    ]
    assert rows[0]["dlq_reasons"] == ["high < low"]
    assert (rows[0]["first_seen_at"], rows[0]["last_seen_at"]) == ("2025-03-05T00:00:00Z", "2025-03-06T00:00:00Z")


def test_rows_are_found_by_reason_window_and_run(letters, capsys):
    assert [row["reject_id"] for row in shown(capsys, "dlq", "list", "--reason", "missing price")] == ["id1"]
    window = ("--start", "2021-04-25T00:02:00Z", "--end", "2021-04-25T00:03:00Z")
    assert [row["reject_id"] for row in shown(capsys, "dlq", "list", *window)] == ["id2"]
    assert [row["reject_id"] for row in shown(capsys, "dlq", "list", "--run", "r1")] == ["id2", "id1"]
    assert shown(capsys, "dlq", "list", "--timeframe", "1h") == []


def test_a_discarded_row_says_so(letters, capsys):
    with ledger.connect(load_settings()) as connection:
        connection.execute("insert into ops.dlq_actions values ('id1', 'v', 'discarded', true, 'r1', now())")
    assert {row["reject_id"]: row["status"] for row in shown(capsys, "dlq", "list")}["id1"] == "discarded"


def test_an_unknown_reason_is_answered_with_those_there_are(letters, capsys):
    assert main(["dlq", "list", "--reason", "hihg < low"]) == 2
    assert "reason must be one of high < low, missing price; was 'hihg < low'" in capsys.readouterr().err


def test_a_symbol_cannot_be_looked_up_before_a_list_of_markets_was_read(postgres, home, capsys):
    assert main(["coverage", "--symbol", "BTC/USDT"]) == 2
    assert "the list of markets of binance was never read; load something" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["coverage"], ["gaps"], ["sources"], ["dlq", "list"]])
def test_unknown_names_are_wrong_use_everywhere(story, capsys, command):
    for flag, value in (("--dataset", "x"), ("--exchange", "x"), ("--timeframe", "x"), ("--symbol", "X/Y")):
        assert main([*command, flag, value]) == 2
        assert "error: " in capsys.readouterr().err
    assert main([*command, "--start", "2025-01-01"]) == 2
    assert "name both --start and --end" in capsys.readouterr().err
