from datetime import UTC, date, datetime, timedelta

from marketlake.cli.output import Output
from marketlake.cli.summary_view import show_plan, show_summary
from marketlake.quality.coverage_report import Hole

AT = datetime(2025, 3, 4, 23, tzinfo=UTC)


def summary(**changes):
    hole = Hole(AT, AT + timedelta(hours=3), 3, "pending", "omitted", "rest", 1, AT, True)
    document = {
        "run_id": "r1", "state": "succeeded", "seconds": 12.34, "window": "2025-03-01 … 2025-03-02", "market": "live",
        "layers": [{"layer": "bronze (Delta)", "table": "bronze.ohlcv", "rows": 11154, "bytes": 898381}],
        "markets": [
            {"dataset": "ohlcv", "exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1h", "expected": 72,
             "loaded": 69, "rejected": 1, "gaps": 1, "coverage": 69 / 72, "holes": [hole]}
        ],
        "rejected": {"high < low": 1},
        "damaged": [],
        "indicators": [{"symbol": "BTC/USDT", "timeframe": "1h", "open_time": AT, "close": 1.5, "rsi_14": 42.44}],
        "mart": [{"market_date": date(2025, 3, 4), "symbol": "BTC/USDT", "close": 1.5, "rejected_rows": 0}],
        "steps": [{"step": "load_bronze", "exchange": "", "dataset": "", "seconds": 9.5}],
    }  # fmt: skip
    return document | changes


def test_a_summary_says_what_a_person_wants_to_know(capsys):
    show_summary(Output(as_json=False), summary())
    text = capsys.readouterr().out
    for part in ("r1", "succeeded in 12.3 s", "live", "11,154", "877.3 KiB", "95.8333%", "high < low", "42.44"):
        assert part in text
    for part in ("2025-03-04 23:00", "pending", "load_bronze"):
        assert part in text


def test_a_summary_of_nothing_is_short(capsys):
    empty = dict.fromkeys(("layers", "markets", "indicators", "mart", "steps"), ())
    show_summary(Output(as_json=False), summary(**empty, rejected={}, market=None))
    said = capsys.readouterr().out.splitlines()
    assert said == ["Run r1 over 2025-03-01 … 2025-03-02: succeeded in 12.3 s", "Rejected rows: none", ""]


def test_a_plan_shows_sources_rows_requests_and_what_was_left(capsys):
    line = {
        "dataset": "ohlcv", "exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1h", "source": "archive",
        "tasks": 3, "expected": 72, "requests": 6, "start": "2025-03-01", "end": "2025-03-04",
    }  # fmt: skip
    show_plan(Output(as_json=False), {"plan": [line], "unfinished": {"waiting": 2, "changes": 0}, "notes": ["mind"]})
    text = capsys.readouterr().out
    for part in ("archive", "72", "Left by earlier runs: 2 waiting", "Note: mind"):
        assert part in text


def test_a_plan_without_tasks_says_that_the_window_is_settled(capsys):
    show_plan(Output(as_json=False), {"plan": [], "unfinished": {}, "notes": []})
    assert "the window is settled" in capsys.readouterr().out
