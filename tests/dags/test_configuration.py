"""Tests for airflow.cfg, the plugin, the links and the pools."""

from __future__ import annotations

import asyncio
import configparser
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from marketlake.settings import load_settings
from marketlake_airflow import pools
from marketlake_airflow.deadline import report_missed_deadline
from marketlake_airflow.links import CoverageLink, DataDocsLink, DeadLetterLink
from marketlake_airflow.run_id import chunk_run_id, library_run_id
from tests.dags.conftest import REPOSITORY, instant


def _configuration() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(REPOSITORY / "airflow.cfg")
    return parser


def test_every_option_of_airflow_cfg_is_one_that_airflow_knows() -> None:
    import airflow.config_templates

    [folder] = airflow.config_templates.__path__
    with open(f"{folder}/config.yml") as file:
        known = yaml.safe_load(file)
    parser = _configuration()

    unknown = [
        f"{section}.{option}"
        for section in parser.sections()
        if section != "usage_data_collection"  # of other versions
        for option in parser[section]
        if option not in known.get(section, {}).get("options", {})
    ]

    assert unknown == []


def test_airflow_answers_on_the_loopback_address_alone_and_names_no_place() -> None:
    parser = _configuration()

    assert parser["api"]["host"] == "127.0.0.1"
    assert parser["api"]["port"] == "8088"
    assert parser["core"]["load_examples"] == "False"
    assert 2 <= int(parser["core"]["parallelism"]) <= 4
    assert parser["core"]["dags_folder"] == "${MARKETLAKE_ROOT}/dags"
    assert not [value for section in parser.sections() for value in parser[section].values() if value.startswith("/")]


def test_the_plugin_is_valid_and_shows_its_pages_in_the_menu() -> None:
    from airflow.plugins_manager import is_valid_plugin

    from marketlake_airflow.plugin import MarketlakePlugin

    assert is_valid_plugin(MarketlakePlugin)
    assert {view["href"] for view in MarketlakePlugin.external_views} == {
        "/marketlake/dbt/", "/marketlake/data_docs/", "/marketlake/coverage", "/marketlake/dlq",
    }  # fmt: skip
    assert MarketlakePlugin.fastapi_apps[0]["url_prefix"] == "/marketlake"


def test_the_pages_are_built_at_their_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    from marketlake_airflow import site
    from marketlake_airflow.plugin import LazySite

    async def anybody(request: Any, *tokens: object) -> str:
        return "admin"

    monkeypatch.setattr(site, "get_user", anybody)

    assert "marketlake" in TestClient(LazySite()).get("/").text


def test_a_tasks_links_lead_to_its_own_run_and_dataset() -> None:
    key: Any = SimpleNamespace(dag_id="bronze_ohlcv", run_id="scheduled__2025-01-02T01:00:00+00:00")
    ingest: Any = SimpleNamespace(task_id="ingest_ohlcv")
    load: Any = SimpleNamespace(task_id="load_bronze")

    assert DataDocsLink().get_link(ingest, ti_key=key) == "/marketlake/data_docs/"
    assert CoverageLink().get_link(ingest, ti_key=key) == "/marketlake/coverage?dataset=ohlcv"
    assert CoverageLink().get_link(load, ti_key=key) == "/marketlake/coverage"
    run = "bronze_ohlcv__scheduled__2025-01-02T01%3A00%3A00%2B00%3A00"
    assert DeadLetterLink().get_link(load, ti_key=key) == f"/marketlake/dlq?run={run}"


def test_a_run_id_holds_only_what_a_path_and_a_query_can_hold() -> None:
    assert library_run_id("dag", "manual/one two~3") == "dag__manual_one_two_3"
    longest = library_run_id("d" * 150, "r" * 150)
    assert len(chunk_run_id(longest, instant(3))) == 200
    assert chunk_run_id("p", instant(3)) == "p.20250103"


def test_several_exchanges_share_a_pool_because_a_mapped_task_has_one() -> None:
    one = load_settings(environ={})
    bybit = '{"rest_url": "http://127.0.0.1:1"}'
    two = load_settings(environ={"MARKETLAKE__EXCHANGES__BYBIT": bybit})

    assert pools.api_pool(one) == "api_binance"
    assert pools.api_pool(two) == "api_exchanges"
    assert {"api_binance", "api_bybit"} <= set(pools.pool_slots(two))


def test_workers_follow_the_settings() -> None:
    wide = {"MARKETLAKE__ETL__ENABLE_PARALLEL_PROCESSING": "true", "MARKETLAKE__ETL__WORKER_COUNT": "4"}

    assert pools.workers(load_settings(environ={})) == 1
    assert pools.workers(load_settings(environ=wide)) == 4
    assert pools.pool_slots(load_settings(environ=wide))["api_binance"] == 4


def test_the_pools_are_made_when_a_component_starts(airflow_database: None) -> None:
    from airflow.jobs.job import Job
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    pools.on_starting(object())
    for _ in range(2):
        pools.on_starting(Job())

    with create_session() as session:
        made = {pool.pool: pool.slots for pool in session.query(Pool) if pool.pool != "default_pool"}
    assert made == pools.pool_slots(load_settings())


def test_a_missed_deadline_is_reported_with_its_run(caplog: pytest.LogCaptureFixture) -> None:
    run = {"dag_id": "daily_market_data_pipeline", "dag_run_id": "scheduled__x"}

    asyncio.run(report_missed_deadline(hours=2, context={"dag_run": run}))

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "run scheduled__x of daily_market_data_pipeline is not done 2 hours" in caplog.text
