"""The choice of current rows in NumPy is that of the SQL which Spark, Postgres and DuckDB share."""

from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.datasets.columns import SOURCE_PRECEDENCE
from marketlake.datasets.current import current_rows_sql
from marketlake.lake.ranking import current_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from([*SOURCE_PRECEDENCE[:3], "unheard_of"]),
        # Some so far apart that no word holds both as they are.
        st.integers(0, 3) | st.just(10**9),
        st.integers(0, 2) | st.just(2**40),
        st.booleans(),
    ),
    # Of one source a key has each revision once.
    unique_by=lambda row: (row[0], row[1], row[3]),
    max_size=30,
)


def frame(rows, time_column):
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 5
    times, sources, seconds, revisions, retracted = columns
    instants = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        {
            time_column: pl.Series([START + timedelta(minutes=time) for time in times], dtype=instants),
            "source": pl.Series(sources, dtype=pl.String),
            "received_at": pl.Series([START + timedelta(seconds=second) for second in seconds], dtype=instants),
            "revision": pl.Series(revisions, dtype=pl.Int64),
            "is_retracted": pl.Series(retracted, dtype=pl.Boolean),
            "close": pl.Series(list(range(len(rows))), dtype=pl.Int64),
        }
    )


def ranked_by_duckdb(rows, dataset):
    market = ", ".join(f"'' as {name}" for name in dataset.key if name != dataset.time_column)
    query = current_rows_sql(dataset, f"(select *, {market} from rows)", columns=["close"])
    return [close for (close,) in duckdb.sql(f"select * from ({query})").fetchall()]


@settings(deadline=None, max_examples=300)
@given(ROWS, st.sampled_from([OHLCV, FUNDING_RATES]))
def test_any_rows_in_any_order_give_the_current_rows_of_the_sql(given_rows, dataset):
    rows = frame(given_rows, dataset.time_column)
    found = current_rows(rows, dataset.time_column, [dataset.time_column, "close"])
    assert sorted(found["close"]) == sorted(ranked_by_duckdb(rows, dataset))
    assert found[dataset.time_column].is_sorted()


def test_rows_without_a_second_one_are_handed_on_as_they_are():
    rows = frame([(minute, "archive", 0, 0, False) for minute in range(5)], "open_time")
    assert current_rows(rows, "open_time", ["open_time", "close"]).equals(rows.select("open_time", "close"))
