"""What is sent in COPY's binary format arrives in Postgres as the value that it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlake.embedded_postgres import PostgresAddress
from marketlake.publish.binary_rows import HEADER, TRAILER, binary_rows

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("price", pa.decimal128(28, 12)),
        ("amount", pa.decimal128(28, 12)),
        ("count", pa.int64()),
        ("share", pa.float64()),
        ("is_retracted", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
TYPES = ("text", "numeric", "numeric", "bigint", "double precision", "boolean", "date", "timestamptz")
INSTANTS = st.integers(0, 7 * 10**15).map(lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))


def exact(whole: int) -> Decimal:
    with localcontext(prec=40):
        return Decimal(whole).scaleb(-12)


ROWS = st.tuples(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6) | st.none(),
    st.integers(-(10**28) + 1, 10**28 - 1).map(exact),
    st.integers(0, 10**18).map(exact) | st.none(),
    st.integers(-(2**63), 2**63 - 1) | st.none(),
    st.floats(allow_nan=False),
    st.booleans() | st.none(),
    st.dates(date(1970, 1, 1), date(2200, 1, 1)),
    INSTANTS,
)


@pytest.fixture
def cursor(postgres_of_module: PostgresAddress) -> Iterator[psycopg.Cursor[Any]]:
    with psycopg.connect(postgres_of_module.url) as connection, connection.cursor() as cursor:
        columns = ", ".join(f'"{field.name}" {kind}' for field, kind in zip(SCHEMA, TYPES, strict=True))
        cursor.execute(f"set timezone = 'UTC'; create temporary table arrived ({columns})")
        yield cursor


def arrived(cursor: psycopg.Cursor[Any], batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    cursor.execute("truncate arrived")
    with cursor.copy("copy arrived from stdin (format binary)") as copy:
        copy.write(HEADER)
        for block in binary_rows(batch):
            copy.write(block)
        copy.write(TRAILER)
    return cursor.execute("select * from arrived").fetchall()


def batch_of(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in SCHEMA]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


def test_rows_of_any_values_and_lengths_arrive_unchanged(cursor: psycopg.Cursor[Any]) -> None:
    @settings(deadline=None, max_examples=200)
    @given(st.lists(ROWS, max_size=12), st.integers(0, 3))
    def check(rows: list[tuple[Any, ...]], skipped: int) -> None:
        assert sorted(arrived(cursor, batch_of(rows).slice(skipped)), key=repr) == sorted(rows[skipped:], key=repr)

    check()


def test_more_rows_than_a_block_arrive_in_their_order(cursor: psycopg.Cursor[Any]) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [
        (
            "BTC/USDT",
            exact(number),
            exact(10**20 + number),
            number,
            0.5,
            False,
            start.date(),
            start + timedelta(0, number),
        )
        for number in range(20_000)
    ]
    assert arrived(cursor, batch_of(rows)) == rows


def test_a_decimal_shows_all_its_digits_after_the_point(cursor: psycopg.Cursor[Any]) -> None:
    arrived(cursor, batch_of([("a", exact(-5 * 10**11), None, None, 0.0, None, date(2024, 1, 1), datetime.now(UTC))]))
    assert cursor.execute("select price::text from arrived").fetchone() == ("-0.500000000000",)


def test_a_column_without_a_binary_form_is_named() -> None:
    with pytest.raises(TypeError, match="list<"):
        list(binary_rows(pa.record_batch([pa.array([["a"]])], ["reasons"])))
