"""The steps as Airflow's tasks call them: ids in, one JSON object out, errors that name what to clear."""

import json
from typing import Any

import pytest

from marketlake import ledger
from marketlake.cli import main
from marketlake.settings import load_settings

WINDOW = ["--start", "2025-03-03", "--end", "2025-03-04"]
CANDLES = ["--dataset", "ohlcv", "--symbol", "BTC/USDT", "--timeframe", "1h"]


def step(capsys: pytest.CaptureFixture[str], name: str, run: str, *more: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main(["step", name, "--run", run, *more, "--json"]) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_run_is_opened_planned_and_fetched_by_its_id(world, capsys):
    opened = step(capsys, "open_run", "dag__1", "--kind", "dag", *CANDLES, *WINDOW)
    assert opened["window"] == {"start": "2025-03-03T00:00:00Z", "end": "2025-03-04T00:00:00Z"}

    plan = step(capsys, "plan_fetches", "dag__1")
    assert plan["work"] == [{"exchange": "binance", "dataset": "ohlcv", "tasks": plan["tasks"]}]
    assert [(line["timeframe"], line["source"], line["expected"]) for line in plan["plan"]] == [("1h", "archive", 24)]

    fetched = step(capsys, "ingest", "dag__1", "--exchange", "binance", "--dataset", "ohlcv")
    assert (fetched["answered"], fetched["failed"], len(fetched["manifests"])) == (1, 0, 1)

    failed = step(capsys, "check_run", "dag__1", code=1)
    assert "a sealed manifest was not loaded" in failed["error"]
    assert "clear load_bronze" in failed["error"]
    assert failed["is_retryable"] is False


def test_an_opened_run_keeps_its_now_and_window_when_it_is_opened_again(world, capsys):
    first = step(capsys, "open_run", "again", *CANDLES, *WINDOW)
    world.set_clock("2025-03-05T09:00:00Z")
    try:
        assert step(capsys, "open_run", "again", *CANDLES, *WINDOW) == first
    finally:
        world.set_clock("2025-03-05T06:00:00Z")


def test_a_run_that_has_ended_begins_anew_when_it_is_opened_again(world, capsys):
    """A day that is reprocessed later must see the holes that are due by then."""
    hole = ["--dataset", "ohlcv", "--symbol", "ETH/USDT", "--timeframe", "15m"]
    day = ["--start", "2025-03-03", "--end", "2025-03-04"]
    first = step(capsys, "open_run", "reprocessed", *hole, *day)
    before = step(capsys, "plan_fetches", "reprocessed")
    with ledger.connect(load_settings()) as connection:
        tasks = ledger.tasks_of(connection, "reprocessed")
    step(capsys, "check_run", "reprocessed", code=1)
    world.set_clock("2025-03-12T06:00:00Z")
    try:
        second = step(capsys, "open_run", "reprocessed", *hole, *day)
        step(capsys, "plan_fetches", "reprocessed")
        third = step(capsys, "open_run", "reprocessed", *hole, *day)
    finally:
        world.set_clock("2025-03-05T06:00:00Z")

    assert (second["window"], second["mode"]) == (first["window"], first["mode"])
    assert (first["now"][:10], second["now"][:10], third["now"]) == ("2025-03-05", "2025-03-12", second["now"])
    with ledger.connect(load_settings()) as connection:
        again = ledger.tasks_of(connection, "reprocessed")
        assert ledger.run_named(connection, "reprocessed").state == "running"
    assert len(again) == before["tasks"] == 1
    # Asked of the same window, yet another task: what the earlier pass landed is no answer to it.
    assert [task.window for task in again] == [task.window for task in tasks]
    assert {task.task_id for task in again}.isdisjoint(task.task_id for task in tasks)


def test_a_dry_run_saves_no_tasks_and_asks_for_no_data(world, capsys):
    capsys.readouterr()
    assert main(["run", *CANDLES, "--start", "2025-02-01", "--end", "2025-03-05", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["tasks"] > 0
    assert plan["expected_rows"] == 32 * 24
    assert sum(line["requests"] for line in plan["plan"]) > 0
    with ledger.connect(load_settings()) as connection:
        assert ledger.tasks_of(connection, plan["run_id"]) == []
    assert not [entry for entry in world.requests() if "klines" in entry.path or entry.path.startswith("/data")]


def test_a_plan_is_a_table_for_people(world, capsys):
    capsys.readouterr()
    assert main(["plan", "--dataset", "ohlcv", "--symbol", "BTC/USDT", "--timeframe", "4h", *WINDOW]) == 0
    [line] = [line.split() for line in capsys.readouterr().out.splitlines() if "BTC/USDT" in line]
    assert line[:5] == ["ohlcv", "binance", "BTC/USDT", "4h", "archive"]
    assert "6" in line[5:]


def test_a_failed_fetch_names_the_error_and_the_task_to_clear(world, capsys, monkeypatch):
    monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__ARCHIVE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__RETRY_BASE_SECONDS", "0")
    step(capsys, "open_run", "down", "--dataset", "ohlcv", "--symbol", "ETH/USDT", "--timeframe", "4h", *WINDOW)
    step(capsys, "plan_fetches", "down")
    failed = step(capsys, "ingest", "down", "--exchange", "binance", "--dataset", "ohlcv", code=1)
    assert "binance ohlcv: 1 of 1 tasks failed" in failed["error"]
    assert failed["is_retryable"] is True
    checked = step(capsys, "check_run", "down", code=1)
    assert "clear ingest_ohlcv" in checked["error"]


def test_a_run_whose_fetch_never_ran_is_not_called_done(world, capsys):
    step(capsys, "open_run", "forgotten", "--dataset", "ohlcv", "--symbol", "ETH/USDT", "--timeframe", "1d", *WINDOW)
    step(capsys, "plan_fetches", "forgotten")
    assert "were never fetched" in step(capsys, "check_run", "forgotten", code=1)["error"]


def told(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, Any]:
    """What the idle run's step reports beside the seconds that it took."""
    result = step(capsys, name, "idle")
    assert result.pop("seconds") >= 0
    return dict(result)


def test_a_step_with_nothing_to_do_says_so(world, capsys):
    step(capsys, "open_run", "idle", *CANDLES, "--start", "2025-03-05T04:10:00Z", "--end", "2025-03-05T04:50:00Z")
    assert step(capsys, "plan_fetches", "idle")["tasks"] == 0
    assert told(capsys, "refresh_grafana_dashboards") == {"skipped": "no Grafana is configured"}
    assert told(capsys, "validate_data_quality") == {"verdicts": [], "refused": [], "loaded": [], "data_docs": []}
    assert told(capsys, "publish_changes")["ranges"] == 0
    assert told(capsys, "check_run") == {"run_id": "idle", "state": "succeeded"}


def test_a_part_of_a_run_counts_for_its_parent(world, capsys):
    step(capsys, "open_run", "whole", "--kind", "backfill", *CANDLES, "--start", "2025-02-27", "--end", "2025-03-01")
    part = ["--start", "2025-02-27", "--end", "2025-02-28"]
    step(capsys, "open_run", "whole.20250227", "--kind", "backfill", "--parent", "whole", *CANDLES, *part)
    step(capsys, "plan_fetches", "whole.20250227")
    failed = step(capsys, "check_run", "whole", code=1)["error"]
    assert "were never fetched" in failed
    assert "clear fetch_chunk 2025-02-27 and what follows it" in failed


def test_ingest_needs_its_exchange_and_dataset(world, capsys):
    step(capsys, "open_run", "which", *CANDLES, *WINDOW)
    assert "needs --exchange and --dataset" in step(capsys, "ingest", "which", code=2)["error"]


def test_a_run_that_needs_nothing_ends_well_though_the_exchange_is_down(world, capsys, monkeypatch, postgres):
    step(capsys, "open_run", "before", *CANDLES, *WINDOW)
    monkeypatch.setenv("MARKETLAKE__EXCHANGES__BINANCE__REST_URL", "http://127.0.0.1:1")
    nothing = ["--start", "2025-03-05T04:10:00Z", "--end", "2025-03-05T04:50:00Z"]
    capsys.readouterr()
    assert main(["run", *CANDLES, *nothing, "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["state"] == "succeeded"
    assert "binance does not answer" in shown.err
    assert "going on with what is known of it" in shown.err


def test_a_symbol_of_one_dataset_is_noted_and_left_out_of_the_other(world, capsys):
    both = ["--dataset", "ohlcv", "--dataset", "funding_rates", "--symbol", "ETH/USDT"]
    step(capsys, "open_run", "both", *both, *WINDOW)
    plan = step(capsys, "plan_fetches", "both")
    assert {line["dataset"] for line in plan["plan"]} == {"ohlcv"}
    assert "ETH/USDT:USDT" in plan["notes"][0]
