"""The merge of built and tested marts into `gold`: changed rows written, vanished ones deleted, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql

from marketlake.errors import DataError

# Says when a row last changed, so it is no change by itself.
_STAMPS = ("refreshed_at",)
_LOG = logging.getLogger(__name__)


def merge_marts(cursor: psycopg.Cursor[Any]) -> dict[str, dict[str, int]]:
    """Make every mart in `gold` equal to `gold_build`; return rows written and deleted by mart.

    Part of the caller's transaction. A mart gains new columns where it stands; one whose columns went or changed their
    types is made anew.

    Raises:
        DataError: a mart must be made anew and others' views depend on it.
    """
    return {mart: _merge(cursor, mart) for mart in _marts(cursor, "gold_build")}


def drop_removed_marts(cursor: psycopg.Cursor[Any], project: Collection[str]) -> list[str]:
    """Drop from `gold_build` the marts that the project no longer has, and return those that `gold` still holds.

    Nobody builds them, but somebody may read them: in `gold` they stay with their last rows, and a warning says so.
    """
    for mart in _marts(cursor, "gold_build"):
        if mart not in project:
            _drop_built(cursor, mart)
    held = [mart for mart in _marts(cursor, "gold") if mart not in project]
    for mart in held:
        _LOG.warning("gold.%s keeps its last rows, but is no longer built; drop it when nobody reads it", mart)
    return held


def _drop_built(cursor: psycopg.Cursor[Any], mart: str) -> None:
    try:
        with cursor.connection.transaction():
            cursor.execute(sql.SQL("drop table {}").format(sql.Identifier("gold_build", mart)))
    except psycopg.errors.DependentObjectsStillExist as error:
        _LOG.warning("gold_build.%s is no longer built, but others depend on it: %s", mart, error.diag.message_detail)
    else:
        _LOG.warning("gold_build.%s is dropped: the dbt project has no such mart any more", mart)


def _marts(cursor: psycopg.Cursor[Any], schema: str) -> list[str]:
    rows = cursor.execute(
        "select table_name from information_schema.tables where table_schema = %s"
        " and table_type = 'BASE TABLE' and table_name like 'mart\\_%%' order by table_name",
        [schema],
    ).fetchall()
    return [str(name) for (name,) in rows]


def _merge(cursor: psycopg.Cursor[Any], mart: str) -> dict[str, int]:
    built, held = sql.Identifier("gold_build", mart), sql.Identifier("gold", mart)
    columns = _columns(cursor, "gold_build", mart)
    known = _columns(cursor, "gold", mart)
    added = [column for column in columns if column not in known] if known else []
    if not known or {*known} - {*columns}:
        _make_anew(cursor, mart)
        added = []
    for name, kind in added:
        _add_column(cursor, mart, name, kind)
    names = [name for name, _ in columns]
    key = _key(cursor, mart)
    same = sql.SQL(" and ").join(sql.SQL("held.{0} = built.{0}").format(sql.Identifier(name)) for name in key)
    cursor.execute(
        sql.SQL("delete from {} as held where not exists (select 1 from {} as built where {})").format(
            held, built, same
        )
    )
    deleted = cursor.rowcount
    values = [name for name in names if name not in key]
    compared = [name for name in values if name not in _STAMPS]
    cursor.execute(
        sql.SQL(
            "insert into {held} as held ({names}) select {names} from {built} on conflict ({key})"
            " do update set {changes} where ({old}) is distinct from ({new})"
        ).format(
            held=held,
            built=built,
            names=_listed(names),
            key=_listed(key),
            changes=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in values),
            old=sql.SQL(", ").join(sql.Identifier("held", name) for name in compared),
            new=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in compared),
        )
    )
    written = cursor.rowcount
    for name in _required(cursor, mart, [name for name, _ in added]):
        cursor.execute(sql.SQL("alter table {} alter column {} set not null").format(held, sql.Identifier(name)))
    return {"rows_written": written, "rows_deleted": deleted}


def _make_anew(cursor: psycopg.Cursor[Any], mart: str) -> None:
    built, held = sql.Identifier("gold_build", mart), sql.Identifier("gold", mart)
    try:
        cursor.execute(sql.SQL("drop table if exists {}").format(held))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise DataError(
            f"the columns of gold.{mart} changed, so it must be made anew, but others depend on it:"
            f" {error.diag.message_detail}; keep their definitions, drop them, build, and create them again"
        ) from error
    cursor.execute(sql.SQL("create table {} (like {} including all)").format(held, built))
    _describe(cursor, mart)


def _add_column(cursor: psycopg.Cursor[Any], mart: str, name: str, kind: str) -> None:
    held, column = sql.Identifier("gold", mart), sql.Identifier(name)
    cursor.execute(sql.SQL("alter table {} add column {} {}").format(held, column, sql.SQL(kind)))
    row = cursor.execute(
        "select col_description(attrelid, attnum) from pg_attribute where attrelid = to_regclass(%s) and attname = %s",
        [f"gold_build.{mart}", name],
    ).fetchone()
    text = sql.Literal(row[0] if row else None)
    cursor.execute(sql.SQL("comment on column {}.{} is {}").format(held, column, text))


def _required(cursor: psycopg.Cursor[Any], mart: str, names: list[str]) -> list[str]:
    """Return which of these columns the mart's contract does not let be null."""
    rows = cursor.execute(
        "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attname = any(%s) and attnotnull",
        [f"gold_build.{mart}", names],
    ).fetchall()
    return [str(name) for (name,) in rows]


def _columns(cursor: psycopg.Cursor[Any], schema: str, table: str) -> list[tuple[str, str]]:
    return cursor.execute(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [f"{schema}.{table}"],
    ).fetchall()


def _key(cursor: psycopg.Cursor[Any], mart: str) -> list[str]:
    """Return the mart's grain: the primary key of its contract."""
    rows = cursor.execute(
        "select attname::text from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey)"
        " where indrelid = to_regclass(%s) and indisprimary order by array_position(indkey::smallint[], attnum)",
        [f"gold_build.{mart}"],
    ).fetchall()
    if not rows:
        raise RuntimeError(f"the contract of {mart} declares no primary key; add it to the model's constraints")
    return [str(name) for (name,) in rows]


def _describe(cursor: psycopg.Cursor[Any], mart: str) -> None:
    row = cursor.execute("select obj_description(to_regclass(%s), 'pg_class')", [f"gold_build.{mart}"]).fetchone()
    if row and row[0]:
        comment = sql.SQL("comment on table {} is {}")
        cursor.execute(comment.format(sql.Identifier("gold", mart), sql.Literal(row[0])))


def _listed(names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
