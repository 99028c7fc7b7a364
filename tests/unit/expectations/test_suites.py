"""Tests for `expectations.suites`: what they hold and how they are stored (QUA-08)."""

from __future__ import annotations

import json

import pytest

from expectations.row_rules import AUDIT_COLUMNS
from expectations.suites import SUITES, create_market_data_suite, dataset_of_suite, suite_named
from expectations.suites.stored import stored_path, suite_text
from marketlake.datasets import DATASETS
from marketlake.errors import UnknownNameError
from marketlake.rules import rules_for
from marketlake.settings import PriceBound, Quality

each_suite = pytest.mark.parametrize("name", SUITES)


def descriptions(name: str, severity: str) -> set[str]:
    return {item.description for item in suite_named(name).expectations if item.severity.value == severity}


def test_every_dataset_has_its_suite_and_candles_have_the_name_that_users_know() -> None:
    assert {dataset.suite for dataset in DATASETS.values()} == set(SUITES)
    assert create_market_data_suite().name == "market_data_quality"
    assert dataset_of_suite("funding_rates_quality").name == "funding_rates"


@each_suite
def test_schema_origin_and_uniqueness_are_critical_and_single_rows_are_not(name: str) -> None:
    rules = rules_for(dataset_of_suite(name))

    assert descriptions(name, "critical") == {
        "schema_is_the_registrys", "provenance_is_complete", "observations_are_distinct",
    }  # fmt: skip
    assert {rule.name for rule in rules.rejecting} < descriptions(name, "warning")
    assert {rule.name for rule in rules.flagging} == descriptions(name, "info")
    assert any("fresh" in text for text in descriptions(name, "warning"))


@each_suite
def test_a_suite_holds_each_rule_of_the_one_list_once(name: str) -> None:
    found = [item.description for item in suite_named(name).expectations]

    assert len(found) == len(set(found)) == len(rules_for(dataset_of_suite(name))) + 4


def test_a_bound_of_the_settings_is_in_the_suite() -> None:
    bound = Quality(price_bounds=(PriceBound(symbol="ETH/USDT", low=1, high=2),))

    notes = [item.notes for item in create_market_data_suite(bound).expectations if "ETH/USDT" in str(item.notes)]

    assert len(notes) == 1


@each_suite
def test_the_stored_suite_is_the_built_one(name: str) -> None:
    text = stored_path(name).read_text(encoding="utf-8")

    assert text == suite_text(name), "a rule has changed: python -m expectations.suites.stored"
    assert json.loads(text)["name"] == name


@each_suite
def test_the_schema_of_a_suite_is_that_of_the_registry(name: str) -> None:
    [schema] = [item for item in suite_named(name).expectations if item.description == "schema_is_the_registrys"]

    own = {column for column in schema.column_set if not column.startswith("failed_")} - set(AUDIT_COLUMNS)
    assert set(dataset_of_suite(name).column_names) - own == {"revision", "is_retracted", "load_id", "known_at"}


def test_an_unknown_suite_is_refused_with_the_list() -> None:
    with pytest.raises(
        UnknownNameError, match="market_data_quality, funding_rates_quality, trades_quality; was 'books_quality'"
    ):
        suite_named("books_quality")
