import json
from datetime import UTC, datetime

import pytest

from marketlake.cli import main
from tests.lakes import candle, commit

DAY = datetime(2025, 1, 30, tzinfo=UTC)


@pytest.fixture
def lake(home):
    commit(home / "delta_lake", [candle(DAY, close="42000.01000000")])


def test_rows_are_objects_with_exact_decimals_and_iso_instants(lake, capsys):
    assert main(["sql", "select open_time, close, trade_count from raw_market_data_1m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"open_time": "2025-01-30T00:00:00Z", "close": "42000.01", "trade_count": 7}
    ]


def test_people_get_a_table_and_the_number_of_rows(lake, capsys):
    assert main(["sql", "select symbol from raw_market_data_1m"]) == 0
    shown = capsys.readouterr().out
    assert "BTC/USDT" in shown
    assert "1 row(s)" in shown


def test_history_and_list_know_the_tables(lake, capsys):
    assert main(["tables", "history", "ohlcv", "--json"]) == 0
    assert [entry["version"] for entry in json.loads(capsys.readouterr().out)] == [0]
    assert main(["tables", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["table"] == "bronze.ohlcv"
