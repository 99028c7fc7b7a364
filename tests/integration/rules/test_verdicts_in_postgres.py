"""Each rule's verdict in Postgres."""

from __future__ import annotations

from typing import Any

import psycopg

from marketlake.embedded_postgres import PostgresAddress
from marketlake.rules import Dialect, rules_for
from tests.rule_cases import CASES, column_types

TYPES = {"text": "text", "instant": "timestamptz", "decimal": "numeric"}


def test_postgres_gives_each_row_the_reasons_and_flags_of_the_rules_it_fails(postgres: PostgresAddress) -> None:
    wrong: list[Any] = []
    with psycopg.connect(postgres.url) as connection:
        connection.execute("set timezone = 'America/New_York'")
        for dataset, good, case in CASES:
            rules = rules_for(dataset)
            columns = ", ".join(f"%s::{TYPES[kind]} as {name}" for name, kind in column_types(good).items())
            reasons, flags = (
                rules.reasons_sql(chosen, Dialect.POSTGRES).replace("%", "%%")
                for chosen in (rules.rejecting, rules.flagging)
            )
            query = f"select {reasons}, {flags} from (select {columns}) as row"
            found = connection.execute(query, list({**good, **case.change}.values())).fetchone()
            if found != (list(case.reasons), list(case.flags)):
                wrong.append((case.name, found))

    assert wrong == []
