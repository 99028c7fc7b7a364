from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from marketlake import Lake
from marketlake.errors import DataError, UsageError
from marketlake.lake.sql import run_query
from tests.lakes import KNOWN, candle, commit, commit_funding, funding, minutes

DAY = datetime(2025, 1, 30, tzinfo=UTC)
LATER = KNOWN + timedelta(days=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "delta_lake"


def rows(root: Path, sql: str) -> list[dict]:
    return run_query(str(root), sql).to_pylist()


def spoil_files_without(root: Path, *, symbol: str, day: datetime) -> int:
    """Overwrite every data file that holds nothing of this symbol and day; return how many are left whole."""
    import pyarrow.parquet as pq

    whole = 0
    for path in root.glob("bronze/ohlcv/**/*.parquet"):
        held = pq.read_table(path, columns=["symbol", "open_time"], partitioning=None).to_pylist()
        if any(row["symbol"] == symbol and row["open_time"].date() == day.date() for row in held):
            whole += 1
        else:
            path.write_bytes(b"not a Parquet file")
    return whole


def year_of_fifty(root: Path) -> None:
    """Four candles a month for a year of 50 symbols, a file for every five symbols."""
    for group in range(10):
        names = [f"C{group}{i}/USDT" for i in range(5)]
        days = [datetime(2025, month, day, tzinfo=UTC) for month in range(1, 13) for day in (1, 9, 17, 25)]
        commit(root, [candle(day, symbol=name) for name in names for day in days])


def test_current_views_show_the_newest_values_and_bronze_every_revision(root):
    commit(root, [candle(DAY, close="1"), candle(DAY, timeframe="1h", close="5")])
    commit(root, [candle(DAY, close="2", revision=1, received_at=LATER, known_at=LATER)])
    assert rows(root, "select close from raw_market_data_1m") == [{"close": Decimal("2")}]
    assert rows(root, "select close from raw_market_data_1h") == [{"close": Decimal("5")}]
    assert rows(root, "select count(*) as n from bronze.ohlcv") == [{"n": 3}]


def test_macro_as_of_shows_what_was_known_then(root):
    commit(root, [candle(DAY, close="1")])
    commit(root, [candle(DAY, close="2", revision=1, received_at=LATER, known_at=LATER)])
    assert rows(root, f"select close from ohlcv_as_of('{KNOWN}')") == [{"close": Decimal("1")}]
    assert rows(root, f"select close from ohlcv_as_of('{LATER}')") == [{"close": Decimal("2")}]
    assert rows(root, "select close from ohlcv_as_of('2025-01-01')") == []


def test_funding_rates_have_their_view_and_macro(root):
    commit_funding(root, [funding(DAY)])
    assert rows(root, "select funding_rate from raw_funding_rates") == [{"funding_rate": Decimal("0.0001")}]
    assert rows(root, "select count(*) as n from funding_rates_as_of('2025-01-01')") == [{"n": 0}]


def test_a_query_that_names_a_day_of_one_symbol_opens_only_files_that_hold_it(root):
    year_of_fifty(root)
    total = len(list(root.glob("bronze/ohlcv/**/*.parquet")))
    day = datetime(2025, 6, 9, tzinfo=UTC)
    by_partition = "partition_date = date '2025-06-09' and partition_asset_pair = 'C33/USDT'"
    by_time = "symbol = 'C33/USDT' and open_time >= '2025-06-09' and open_time < '2025-06-10'"
    query = "select open_time, symbol, close from raw_market_data_1m where "
    before = rows(root, query + by_partition)
    assert spoil_files_without(root, symbol="C33/USDT", day=day) == 1 < total
    assert rows(root, query + by_partition) == rows(root, query + by_time) == before
    assert before == [{"open_time": day, "symbol": "C33/USDT", "close": Decimal("100.00000001")}]
    as_of = query.replace("raw_market_data_1m", "ohlcv_as_of('2030-01-01')") + "timeframe = '1m' and " + by_time
    assert rows(root, as_of) == before
    with pytest.raises(DataError, match="cannot be read"):
        rows(root, "select sum(close) from raw_market_data_1m")


def test_the_sdk_opens_only_files_that_hold_the_day(root):
    year_of_fifty(root)
    wanted = ("C33/USDT", "1m", "2025-06-09", "2025-06-10")
    before = Lake(root).candles(*wanted).to_pylist()
    spoil_files_without(root, symbol="C33/USDT", day=datetime(2025, 6, 9, tzinfo=UTC))
    assert Lake(root).candles(*wanted).to_pylist() == before != []


def test_sdk_and_sql_return_the_same_current_rows(root):
    commit(root, minutes(DAY, 60))
    commit(root, minutes(DAY, 30, source="rest", close="3", received_at=LATER, known_at=LATER))
    commit(root, minutes(DAY, 10, revision=1, close="4", received_at=LATER, known_at=LATER + timedelta(1)))
    ours = Lake(root).candles("BTC/USDT", "1m", exact=True, columns=["open_time", "close"])
    theirs = rows(root, "select open_time, close from raw_market_data_1m order by open_time")
    assert ours.to_pylist() == theirs
    assert [row["close"] for row in theirs].count(Decimal("4")) == 10


def test_an_empty_lake_has_empty_views(tmp_path):
    assert rows(tmp_path, "select count(*) as n from raw_market_data_1d") == [{"n": 0}]


def test_other_tables_of_the_lake_can_be_queried(root):
    import pyarrow as pa
    from deltalake import write_deltalake

    found = pa.table({"dataset": ["ohlcv", None], "n": [1, 2]})
    write_deltalake(str(root / "control" / "loads"), found, partition_by=["dataset"])
    assert rows(root, "select n from control.loads where dataset = 'ohlcv'") == [{"n": 1}]
    assert rows(root, "select n from control.loads where dataset is null") == [{"n": 2}]


def test_dates_come_in_utc(root):
    commit(root, [candle(datetime(2025, 1, 30, 23, 59, tzinfo=UTC))])
    assert rows(root, "select open_time::date as day from bronze.ohlcv") == [{"day": date(2025, 1, 30)}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select * from raw_market_data_2h", "the lake has: .*raw_market_data_1m.*ohlcv_as_of"),
        ("select * from candles", "Table with name candles does not exist!\nthe lake has: "),
        ("selec 1", "syntax error"),
        ("select nosuch from bronze.ohlcv", "nosuch"),
        ("create table t (a int)", "must be one query that only reads"),
        ("copy (select 1) to 'x.csv'", "must be one query that only reads"),
        ("select 1; select 2", "must be one query that only reads"),
        ("", "must be one query that only reads"),
    ],
)
def test_a_wrong_query_is_answered_in_a_few_lines(root, sql, message):
    commit(root, [candle(DAY)])
    with pytest.raises(UsageError, match=message) as failure:
        run_query(str(root), sql)
    assert len(str(failure.value).splitlines()) <= 8
