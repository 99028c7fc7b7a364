"""Built marts into `gold`: only what changed, all marts in one transaction."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from marketlake.errors import DataError
from marketlake.publish.gold import merge_marts
from tests.integration.publish.shelf import Shelf

READER = "marketlake_reader"


@pytest.fixture
def built(shelf: Shelf) -> Shelf:
    """`gold_build` with one mart of two rows."""
    for schema in ("gold", "gold_build"):
        shelf.connection.execute(f"drop schema if exists {schema} cascade".encode())
        shelf.connection.execute(f"create schema {schema}".encode())
    shelf.connection.execute(f"alter default privileges in schema gold grant select on tables to {READER}".encode())
    shelf.connection.execute(
        "create table gold_build.mart_one (symbol text, day date, close numeric, note text, refreshed_at timestamptz,"
        " primary key (day, symbol))"
    )
    shelf.connection.execute("comment on table gold_build.mart_one is 'One row a day.'")
    shelf.connection.execute("comment on column gold_build.mart_one.close is 'Last price.'")
    shelf.connection.execute(
        "insert into gold_build.mart_one values"
        " ('BTC/USDT', '2025-01-30', 1.5, null, '2025-02-01Z'), ('ETH/USDT', '2025-01-30', 2, 'x', '2025-02-01Z')"
    )
    return shelf


def merge(shelf: Shelf) -> dict[str, dict[str, int]]:
    with shelf.connection.transaction(), shelf.connection.cursor() as cursor:
        return merge_marts(cursor)


def gold(shelf: Shelf) -> list[tuple[Any, ...]]:
    return shelf.rows("select symbol, close::text, note, refreshed_at::date::text from gold.mart_one order by symbol")


def test_a_new_mart_is_made_with_its_key_its_texts_and_the_readers_right(built: Shelf) -> None:
    assert merge(built) == {"mart_one": {"rows_written": 2, "rows_deleted": 0}}
    assert gold(built) == [("BTC/USDT", "1.5", None, "2025-02-01"), ("ETH/USDT", "2", "x", "2025-02-01")]
    assert built.rows(
        "select obj_description('gold.mart_one'::regclass), col_description('gold.mart_one'::regclass, 3),"
        " has_table_privilege(%s, 'gold.mart_one', 'select'), has_table_privilege(%s, 'gold.mart_one', 'update')",
        READER,
        READER,
    ) == [("One row a day.", "Last price.", True, False)]


def test_only_rows_that_differ_are_written_and_a_new_stamp_is_no_difference(built: Shelf) -> None:
    merge(built)
    built.connection.execute("update gold_build.mart_one set refreshed_at = '2025-02-02Z'")
    built.connection.execute("update gold_build.mart_one set note = 'now known' where symbol = 'BTC/USDT'")
    assert merge(built) == {"mart_one": {"rows_written": 1, "rows_deleted": 0}}
    assert gold(built) == [("BTC/USDT", "1.5", "now known", "2025-02-02"), ("ETH/USDT", "2", "x", "2025-02-01")]


def test_a_row_that_is_built_no_more_goes(built: Shelf) -> None:
    merge(built)
    built.connection.execute("delete from gold_build.mart_one where symbol = 'ETH/USDT'")
    assert merge(built) == {"mart_one": {"rows_written": 0, "rows_deleted": 1}}
    assert [row[0] for row in gold(built)] == ["BTC/USDT"]


def test_a_mart_gains_a_column_where_it_stands_so_views_on_it_stay(built: Shelf) -> None:
    merge(built)
    built.connection.execute("create view gold.of_a_user as select close from gold.mart_one")
    built.connection.execute("alter table gold_build.mart_one add column volume numeric not null default 7")
    built.connection.execute("comment on column gold_build.mart_one.volume is 'Base asset.'")
    assert merge(built)["mart_one"]["rows_written"] == 2
    assert built.rows("select volume from gold.mart_one") == [(7,), (7,)]
    assert built.rows(
        "select attnotnull, col_description(attrelid, attnum) from pg_attribute"
        " where attrelid = 'gold.mart_one'::regclass and attname = 'volume'"
    ) == [(True, "Base asset.")]
    assert merge(built)["mart_one"]["rows_written"] == 0
    assert len(built.rows("select * from gold.of_a_user")) == 2


def test_a_mart_whose_columns_changed_is_made_anew(built: Shelf) -> None:
    merge(built)
    built.connection.execute("alter table gold_build.mart_one drop column note")
    assert merge(built)["mart_one"]["rows_written"] == 2
    assert len(built.rows("select * from gold.mart_one")[0]) == 4


def test_a_mart_that_must_be_made_anew_under_a_view_of_a_user_is_refused_by_name(built: Shelf) -> None:
    merge(built)
    built.connection.execute("create view gold.of_a_user as select note from gold.mart_one")
    built.connection.execute("alter table gold_build.mart_one drop column note")
    with pytest.raises(DataError, match="columns of gold.mart_one changed.*of_a_user.*create them again"):
        merge(built)
    assert len(gold(built)) == 2


def test_a_failure_in_one_mart_leaves_all_as_they_were(built: Shelf) -> None:
    merge(built)
    built.connection.execute("update gold_build.mart_one set close = 9")
    built.connection.execute("create table gold_build.mart_without_key (a int)")
    with pytest.raises(RuntimeError, match="contract of mart_without_key declares no primary key"):
        merge(built)
    assert [row[1] for row in gold(built)] == ["1.5", "2"]
    assert built.rows("select to_regclass('gold.mart_without_key')::text") == [(None,)]


def test_a_reader_sees_the_old_marts_until_the_merge_commits(built: Shelf) -> None:
    merge(built)
    built.connection.execute("update gold_build.mart_one set close = 9")
    with built.connection.transaction(), built.connection.cursor() as cursor:
        merge_marts(cursor)
        with psycopg.connect(built.connection.info.dsn, password=built.connection.info.password) as other:
            assert other.execute("select max(close)::text from gold.mart_one").fetchone() == ("2",)
    assert gold(built)[0][1] == "9"
