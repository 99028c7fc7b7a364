"""The queries of `docs/queries.md` run as they stand, as the reader, and read nothing but the marts (SRV-01)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketlake.ledger.database import READER_ROLE
from marketlake.publish.gold import merge_marts
from tests.dbt.warehouse import Warehouse, random_candles, utc

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "queries.md"
MARTS = sorted(path.stem for path in (DOCUMENT.parents[1] / "dbt_project" / "models" / "gold").glob("mart_*.sql"))
START, HOUR, DAY = utc("2025-01-01"), timedelta(hours=1), timedelta(days=1)


def queries() -> dict[str, list[str]]:
    """Return the SQL blocks of the document by the mart whose heading they stand under."""
    parts = re.split(r"^## (\w+)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"```sql\n(.*?);\n```", text, re.DOTALL)
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.fixture(scope="module")
def reader(warehouse: Warehouse) -> Iterator[Warehouse]:
    """The demo's size: three days of 1m and 1h candles, and funding, in gold; read by the reader's role."""
    warehouse.put("BTC/USDT", "1m", random_candles(START, "1m", 3 * 1440, seed=1))
    warehouse.put("BTC/USDT", "1h", random_candles(START - 10 * DAY, "1h", 13 * 24, seed=2))
    warehouse.put_funding("BTC/USDT:USDT", [(START + n * 8 * HOUR, Decimal("0.0001")) for n in range(9)])
    warehouse.publish("BTC/USDT", "1m", START, START + 3 * DAY)
    warehouse.publish("BTC/USDT", "1h", START - 10 * DAY, START + 3 * DAY)
    warehouse.publish("BTC/USDT:USDT", "", START, START + 3 * DAY, dataset="funding_rates")
    warehouse.dbt("run", "--selector", "silver")
    warehouse.dbt("run", "--selector", "marts")
    with warehouse.connection.transaction(), warehouse.connection.cursor() as cursor:
        merge_marts(cursor)
    warehouse.connection.execute(f"set role {READER_ROLE}".encode())
    yield warehouse
    warehouse.connection.execute("reset role")


def relations(plan: Any) -> Iterator[str]:
    """Yield the tables that a plan reads, as schema.table."""
    if isinstance(plan, dict):
        if "Relation Name" in plan:
            yield f"{plan['Schema']}.{plan['Relation Name']}"
        for below in plan.values():
            yield from relations(below)
    elif isinstance(plan, list):
        for below in plan:
            yield from relations(below)


def test_each_mart_has_example_queries() -> None:
    assert sorted(name for name, blocks in queries().items() if blocks) == MARTS


@pytest.mark.parametrize("query", [block for blocks in queries().values() for block in blocks])
def test_an_example_answers_from_the_marts_alone(reader: Warehouse, query: str) -> None:
    assert reader.rows(query)
    [plan] = reader.rows(f"explain (verbose, format json) {query}")
    assert {*relations(plan["QUERY PLAN"])} <= {f"gold.{mart}" for mart in MARTS}
