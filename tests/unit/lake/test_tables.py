import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from marketlake.errors import DataError, UsageError
from marketlake.lake.tables import get_table_history, read_table, table_named
from tests.lakes import candle, commit, minutes

DAY = datetime(2025, 1, 30, tzinfo=UTC)
TABLE = "bronze.ohlcv"


@pytest.fixture
def root(tmp_path: Path) -> str:
    folder = tmp_path / "delta_lake"
    commit(folder, [candle(DAY)])
    time.sleep(0.005)
    commit(folder, minutes(DAY + timedelta(hours=1), 2))
    return str(folder)


def test_history_is_newest_first_with_metrics(root):
    history = get_table_history(root, TABLE)
    assert [entry["version"] for entry in history] == [1, 0]
    assert {"timestamp", "operation", "operationMetrics"} <= history[0].keys()
    assert history[0]["timestamp"] > history[1]["timestamp"]


@pytest.mark.parametrize(
    "stated", [{"userMetadata": json.dumps({"run_id": "r1", "load_id": "l1"})}, {"run_id": "r1", "load_id": "l1"}]
)
def test_history_names_the_run_however_the_commit_states_it(root, stated):
    path = str(Path(root, "bronze", "ohlcv"))
    rows = DeltaTable(path).to_pyarrow_table()
    write_deltalake(path, rows, mode="append", commit_properties=CommitProperties(custom_metadata=stated))
    newest = get_table_history(root, TABLE)[0]
    assert (newest["run_id"], newest["load_id"]) == ("r1", "l1")


def test_a_table_reads_as_it_was_at_a_version_and_at_an_instant(root):
    first = get_table_history(root, TABLE)[-1]["timestamp"]
    assert len(read_table(root, TABLE)) == 3
    assert len(read_table(root, TABLE, version=0)) == 1
    assert len(read_table(root, TABLE, as_of_timestamp=first)) == 1
    assert len(read_table(root, TABLE, as_of_timestamp=datetime.now(UTC))) == 3


def test_instants_outside_the_history_name_the_earliest(root):
    with pytest.raises(UsageError, match=r"no version at 2020-01-01T00:00:00Z; the earliest available is version 0 of"):
        read_table(root, TABLE, as_of_timestamp=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(UsageError, match="lies in the future"):
        read_table(root, TABLE, as_of_timestamp=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(UsageError, match="has versions up to 1; was 7"):
        read_table(root, TABLE, version=7)


def test_both_arguments_are_refused(root):
    with pytest.raises(UsageError, match="not both"):
        read_table(root, TABLE, version=0, as_of_timestamp=DAY)


def test_a_vacuumed_version_names_the_earliest_that_is_left(root):
    table = DeltaTable(str(Path(root, "bronze", "ohlcv")))
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(UsageError, match="it was vacuumed; the earliest available is version"):
        read_table(root, TABLE, version=1)
    assert len(read_table(root, TABLE)) == 3


def test_a_file_lost_from_the_present_version_is_damage_not_age(root):
    next(Path(root, "bronze", "ohlcv").glob("**/*.parquet")).unlink()
    with pytest.raises(DataError, match="lacks 1 of its files"):
        read_table(root, TABLE)


@pytest.mark.parametrize("text", ["bronze.ohlcv", "ohlcv", "raw_market_data_1h"])
def test_a_table_goes_by_its_names(root, text):
    assert table_named(root, text) == TABLE


def test_an_unknown_table_is_answered_with_those_there_are(root):
    with pytest.raises(UsageError, match=r"no table 'trades'; its tables: bronze\.ohlcv"):
        get_table_history(root, "trades")
