"""The dbt project: its unit tests, its data tests on good and on planted rows, its docs (TRF-24, TRF-27 … 29)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from marketlake.errors import MarketlakeError
from marketlake.publish.dbt import row_rules, write_docs
from marketlake.publish.dbt_session import PROJECT
from tests.dbt.warehouse import Warehouse, random_candles, utc

START, MINUTE, HOUR, DAY = utc("2025-01-01"), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SYMBOL, PERPETUAL = "BTC/USDT", "BTC/USDT:USDT"


@pytest.fixture(scope="module")
def built(warehouse: Warehouse) -> Warehouse:
    """Three days of minutes and funding, and the hours of ten days before them, built once."""
    warehouse.put(SYMBOL, "1m", random_candles(START, "1m", 3 * 1440, seed=1))
    warehouse.put(SYMBOL, "1h", random_candles(START - 10 * DAY, "1h", 10 * 24, seed=2))
    warehouse.put_funding(PERPETUAL, [(START + n * 8 * HOUR, Decimal("0.0001") * n) for n in range(9)])
    warehouse.publish(SYMBOL, "1m", START, START + 3 * DAY)
    warehouse.publish(SYMBOL, "1h", START - 10 * DAY, START)
    warehouse.publish(PERPETUAL, "", START, START + 3 * DAY, dataset="funding_rates")
    warehouse.dbt("run", "--selector", "silver")
    warehouse.dbt("run", "--selector", "marts")
    return warehouse


@contextmanager
def planted(warehouse: Warehouse, *statements: str) -> Iterator[None]:
    """Change rows; tables are as before afterwards."""
    tables = ("bronze.ohlcv", "staging.market_data_indicators", "gold_build.mart_market_daily")
    tables += ("gold_build.mart_market_regime_stats", "bronze.funding_rates")
    for table in tables:
        warehouse.connection.execute(f"create table kept_{table.replace('.', '_')} as table {table}".encode())
    try:
        for statement in statements:
            warehouse.connection.execute(statement.encode())
        yield
    finally:
        for table in tables:
            kept = f"kept_{table.replace('.', '_')}"
            warehouse.connection.execute(f"truncate {table}".encode())
            warehouse.connection.execute(f"insert into {table} table {kept}".encode())
            warehouse.connection.execute(f"drop table {kept}".encode())


def run_tests(warehouse: Warehouse, *select: str) -> dict[str, str]:
    variables = {"row_rules": row_rules(), "window_end": "2025-01-04T00:00:00Z"}
    return dict(warehouse.dbt("test", *select, variables=variables).statuses)


def test_each_formulas_unit_test_passes(built: Warehouse) -> None:
    statuses = built.dbt("test", "--select", "test_type:unit").statuses
    assert len(statuses) >= 7
    assert {*statuses.values()} == {"pass", "success"}


def test_good_rows_pass_every_data_test_without_a_warning(built: Warehouse) -> None:
    statuses = run_tests(built, "--selector", "data_tests")
    assert len(statuses) > 60
    assert {*statuses.values()} == {"pass", "success"}  # a hook succeeds, a test passes


MIDDLE = "2025-01-02T00:30Z"


@pytest.mark.parametrize(
    ("test", "statement"),
    [
        (
            "follows_row_rules_market_data_ohlcv",
            f"update bronze.ohlcv set high = low - 1 where open_time = '{MIDDLE}' and timeframe = '1m'",
        ),
        (
            "follows_row_rules_stg_bronze__funding_rates_funding_rates",
            "update bronze.funding_rates set funding_time_raw = funding_time + interval '20 minutes'",
        ),
        (
            "market_data_indicators_have_each_candle_once",
            f"delete from staging.market_data_indicators where open_time = '{MIDDLE}'",
        ),
        (
            "silver_reaches_the_end_of_the_window",
            "delete from staging.market_data_indicators where open_time >= '2025-01-03Z'",
        ),
        ("mart_market_daily_reconciles", "update gold_build.mart_market_daily set volume = volume + 0.000001"),
        ("mart_market_daily_reconciles", "delete from gold_build.mart_market_daily where symbol like '%:%'"),
        ("mart_market_regime_stats_reconciles", "update gold_build.mart_market_regime_stats set candles = candles + 1"),
        (
            "relationships_mart_market_daily_symbol__symbol__ref_stg_bronze__market_day_quality_",
            "update gold_build.mart_market_daily set symbol = 'NO/SUCH' where market_date = '2025-01-02' and close > 0",
        ),
    ],
)
def test_a_planted_bad_row_fails_the_test_that_is_there_for_it(built: Warehouse, test: str, statement: str) -> None:
    with planted(built, statement), pytest.raises(MarketlakeError, match=f"(?m)^- {test}"):
        run_tests(built, "--select", test)


def test_a_key_that_two_rows_have_fails(built: Warehouse) -> None:
    duplicate = "insert into staging.market_data_indicators select * from staging.market_data_indicators limit 1"
    [unique] = built.rows(
        "select format('%%I', indexname) as name, indexdef from pg_indexes"
        " where tablename = 'market_data_indicators' and indexdef like '%%UNIQUE%%'"
    )
    name = "unique_key_market_data_enriched_symbol__timeframe__open_time"
    with planted(built, f"drop index staging.{unique['name']}", duplicate), pytest.raises(MarketlakeError, match=name):
        run_tests(built, "--select", name)
    built.connection.execute(unique["indexdef"].encode())


def test_every_model_and_column_is_described_and_gold_and_tables_of_silver_have_contracts(built: Warehouse) -> None:
    target = built.settings.home / "dbt" / "target" / "manifest.json"
    models = [node for node in json.loads(target.read_text())["nodes"].values() if node["resource_type"] == "model"]
    undescribed = [node["name"] for node in models if not node["description"]]
    for node in models:
        columns = built.rows(
            "select column_name as name from information_schema.columns where table_schema = %s and table_name = %s",
            [node["schema"], node["name"]],
        )
        texts = {name: column["description"] for name, column in node["columns"].items()}
        assert columns, node["name"]
        undescribed += [f"{node['name']}.{column['name']}" for column in columns if not texts.get(column["name"])]
        undescribed += [f"{node['name']}.{name} is no column" for name in texts if {"name": name} not in columns]
        is_silver_table = node["fqn"][1] == "silver" and node["config"]["materialized"] != "view"
        assert node["config"]["contract"]["enforced"] is (node["fqn"][1] == "gold" or is_silver_table), node["name"]
        assert f"layer:{node['fqn'][1].replace('intermediate', 'staging')}" in node["tags"]
    assert undescribed == []


def test_descriptions_are_comments_in_the_database(built: Warehouse) -> None:
    [text] = built.rows("select col_description('gold_build.mart_market_daily'::regclass, 10) as text")
    assert "calendar day before" in text["text"]


def test_the_docs_site_is_one_file_with_columns_lineage_and_a_link_to_the_data_docs(built: Warehouse) -> None:
    page = Path(write_docs(built.settings))
    text = page.read_text()
    tests = ("mart_market_daily_reconciles", "resampled_candles_agree_with_the_exchanges_own")
    for wanted in ("close of the calendar day before", *tests, "../data_docs/index.html"):
        assert wanted in text
    made = page.stat().st_mtime_ns
    assert write_docs(built.settings) == str(page)
    assert page.stat().st_mtime_ns == made


def test_the_targets_are_those_of_the_settings_profiles() -> None:
    outputs = yaml.safe_load((PROJECT / "profiles.yml").read_text())["marketlake"]["outputs"]
    assert set(outputs) == {"local", "ci", "prod"}
