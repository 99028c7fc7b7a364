"""ledger, watermark, sources and tables restore as a person types them, mistakes included."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from marketlake import ledger
from marketlake.cli import main
from marketlake.ledger import Run
from marketlake.settings import load_settings
from tests.integration.recovery.story import MARKET, START, Story, hours
from tests.ledgers import ledger_content


@pytest.fixture
def story(postgres, home) -> Iterator[Story]:
    with ledger.connect(load_settings()) as connection:
        story = Story(connection, load_settings())
        story.tell()
        yield story


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert main(list(arguments)) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    return error


def test_the_ledger_is_shown_in_counts(story, capsys):
    state = shown(capsys, "ledger", "show")
    assert (state["market"], state["manifests"]) == ("recorded", {"loaded": 3, "refused": 1})
    assert (state["loads"], state["markets"], state["changes_unpublished"]) == (3, 2, 3)
    assert {"dataset": "ohlcv", "state": "present", "ranges": 2} in state["coverage"]


def test_a_rebuild_says_what_it_will_do_and_needs_a_yes(story, capsys):
    before = ledger_content(story.connection)
    story.empty()
    plan = shown(capsys, "ledger", "rebuild", "--dry-run")
    assert (plan["dry_run"], plan["manifests"], plan["entries"], plan["replaced_loads"]) == (True, 4, 7, 0)
    assert "Add --yes" in refused(capsys, "ledger", "rebuild")
    assert ledger.markets_covered(story.connection) == []

    assert shown(capsys, "ledger", "rebuild", "--yes")["loads"] == 3
    assert ledger_content(story.connection) == before


def test_a_rebuild_over_damage_says_so_and_ends_with_1(story, capsys):
    [entry] = story.area.folder.glob("*/*/ledger/l2.loaded.json")
    entry.write_text("x")
    assert main(["ledger", "rebuild", "--yes"]) == 1
    text = capsys.readouterr().out
    assert "l2.loaded.json cannot be read" in text.replace("\n", "")
    assert "1 manifest(s) wait" in text


def test_a_rebuild_beside_a_run_is_refused(story, capsys):
    ledger.create_run(story.connection, Run("alive", "cli", None, "incremental", {}, START.replace(year=2999)))
    assert "marked as running: alive" in refused(capsys, "ledger", "rebuild", "--yes", code=1)
    assert shown(capsys, "ledger", "rebuild", "--yes", "--end-runs")["loads"] == 3


def test_watermarks_are_shown_by_market(story, capsys):
    [found] = shown(capsys, "watermark", "show", "--symbol", "BTC/USDT")
    assert (found["high_watermark_at"], found["last_open_time"]) == ("2025-03-01T10:00:00Z", "2025-03-01T09:00:00Z")
    assert shown(capsys, "watermark", "show", "--timeframe", "4h") == []


def test_a_reset_opens_whole_candles_and_takes_the_watermark_back(story, capsys):
    bounds = ("--symbol", "BTC/USDT", "--start", "2025-03-01T04:30:00Z", "--end", "2025-03-01T05:30:00Z")
    before = ledger_content(story.connection)
    [planned] = shown(capsys, "watermark", "reset", *bounds, "--dry-run")["resets"]
    assert planned["ranges"] == [{"start": "2025-03-01T04:00:00Z", "end": "2025-03-01T06:00:00Z"}]
    assert "Reset 1 market(s)? Add --yes" in refused(capsys, "watermark", "reset", *bounds)
    assert ledger_content(story.connection) == before

    shown(capsys, "watermark", "reset", *bounds, "--yes")

    tiles = [tile.window for tile in ledger.coverage_of(story.connection, *MARKET, window=hours(0, 10))]
    assert tiles == [hours(0, 4), hours(6, 10)]
    assert ledger.high_watermark(story.connection, *MARKET) == hours(0, 4).end
    facts = "select cause from ops.coverage_facts where state = 'revoked'"
    assert story.connection.execute(facts).fetchall() == [("reset",)]
    assert shown(capsys, "watermark", "reset", *bounds, "--yes") == {"dry_run": False, "resets": []}


def test_sources_lists_both_values(story, capsys):
    [found] = shown(capsys, "sources", "--symbol", "BTC/USDT")
    assert (found["source"], found["value"], found["other_source"], found["other_value"]) == (
        *("archive", "105"),
        *("rest", "105.5"),
    )
    assert (found["field"], found["chosen_source"], found["key_at"]) == ("close", "archive", "2025-03-01T00:00:00Z")
    inside = ("--start", "2025-03-01", "--end", "2025-03-01T00:00:01Z")
    assert len(shown(capsys, "sources", *inside)) == 1
    assert shown(capsys, "sources", "--start", "2025-03-01T00:00:01Z", "--end", "2025-03-02") == []
    assert main(["sources"]) == 0
    assert "1 difference(s)" in capsys.readouterr().out


def test_a_table_is_restored_to_a_version_or_an_instant(story, capsys):
    newest = shown(capsys, "tables", "history", "bronze.ohlcv")[0]
    plan = shown(capsys, "tables", "restore", "ohlcv", "--version", "0", "--dry-run")
    assert (plan["table"], plan["to_version"], plan["lost"], plan["lost_rows"]) == ("bronze.ohlcv", 0, ["l2", "l3"], 12)
    assert "Restore bronze.ohlcv? Add --yes" in refused(capsys, "tables", "restore", "ohlcv", "--version", "0")
    instant = shown(capsys, "tables", "history", "bronze.ohlcv")[-1]["timestamp"]

    done = shown(capsys, "tables", "restore", "raw_market_data_1h", "--timestamp", instant, "--yes")

    assert (done["to_version"], done["from_version"], done["manifests"]) == (0, newest["version"], 2)
    assert shown(capsys, "tables", "history", "bronze.ohlcv")[0]["operation"] == "RESTORE"
    assert shown(capsys, "ledger", "show")["manifests"] == {"loaded": 1, "refused": 1, "waiting": 2}


MISTAKES = [
    (("ledger", "remake"), "invalid choice: 'remake'"),
    (("ledger", "show", "--yes"), "belong to ledger rebuild"),
    (("watermark", "show", "--yes"), "belong to watermark reset"),
    (("watermark", "show", "--start", "2025-01-01", "--end", "2025-01-02"), "takes no --start and --end"),
    (("watermark", "reset", "--yes"), "needs bounds, such as --symbol BTC/USDT"),
    (("watermark", "reset", "--all", "--symbol", "BTC/USDT"), "name markets or --all, not both"),
    (("watermark", "reset", "--symbol", "BTC/USDT", "--end", "2025-01-01"), "name both --start and --end"),
    (("watermark", "reset", "--symbol", "BTC/USDT", "--start", "2025-01-02", "--end", "2025-01-01"), "before end"),
    (("watermark", "reset", "--symbol", "BTC/USDT", "--start", "yesterday", "--end", "2025-01-01"), "must be a date"),
    (("tables", "restore", "--version", "1"), "tables restore needs a table"),
    (("tables", "restore", "ohlcv"), "needs either --version or --timestamp"),
    (("tables", "restore", "ohlcv", "--version", "1", "--timestamp", "2025-01-01"), "either --version or --timestamp"),
    (("tables", "restore", "ohlvc", "--version", "1"), "has no table 'ohlvc'"),
    (("tables", "restore", "ohlcv", "--version", "-1"), "has versions up to 1; was -1"),
    (("tables", "restore", "ohlcv", "--version", "x"), "invalid int value: 'x'"),
    (("tables", "restore", "ohlcv", "--version", "1"), "there is nothing to restore"),
    (("tables", "restore", "ohlcv", "--timestamp", "2015-01-01"), "has no version at 2015-01-01"),
    (("tables", "restore", "ohlcv", "--timestamp", "2999-01-01"), "lies in the future"),
    (("tables", "list", "ohlcv"), "tables list takes no table"),
    (("tables", "history", "ohlcv", "--version", "1"), "belong to tables restore"),
    (("tables", "history", "ohlcv", "--limit", "-1"), "must be 0 (all) or more"),
    (("tables", "history"), "tables history needs a table"),
]


def test_mistakes_are_answered_in_one_line_and_change_nothing(story, capsys):
    before = ledger_content(story.connection)
    answers = {arguments: refused(capsys, *arguments) for arguments, _ in MISTAKES}
    assert [arguments for arguments, why in MISTAKES if why not in answers[arguments]] == []
    assert ledger_content(story.connection) == before


def test_unknown_names_are_wrong_use(story, capsys):
    for command in (["watermark", "show"], ["watermark", "reset"], ["sources"]):
        for flag, value in (("--dataset", "x"), ("--exchange", "x"), ("--timeframe", "x"), ("--symbol", "X/Y")):
            assert f"'{value}'" in refused(capsys, *command, flag, value)


def test_a_mirror_is_not_restored_but_written_anew(story, capsys):
    shown(capsys, "ledger", "mirror")
    assert "`marketlake ledger mirror` writes it anew" in refused(
        capsys, "tables", "restore", "control.coverage", "--version", "0"
    )
