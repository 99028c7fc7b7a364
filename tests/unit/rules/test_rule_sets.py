"""Tests for `marketlake.rules`: what a set of rules is, apart from its verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marketlake.datasets import FUNDING_RATES, OHLCV
from marketlake.errors import ConfigError, UnknownNameError
from marketlake.rules import CONFORM_COLUMNS, Dialect, RuleSet, rules_for
from marketlake.settings import PriceBound, Quality


def test_the_version_changes_with_any_rule_and_with_nothing_else() -> None:
    rules = rules_for(OHLCV)
    stricter = RuleSet((*rules.rules[:-1], replace(rules.rules[-1], predicate="false")))

    assert rules.version == rules_for(OHLCV, Quality()).version
    assert rules.version != stricter.version
    assert rules.version != rules_for(FUNDING_RATES).version


def test_a_bound_in_the_settings_changes_the_rules_of_candles() -> None:
    narrow = Quality(price_bounds=(PriceBound(symbol="ETH/USDT", low=1, high=2),))

    assert rules_for(OHLCV, narrow).version != rules_for(OHLCV).version
    assert rules_for(FUNDING_RATES, narrow).version == rules_for(FUNDING_RATES).version


@pytest.mark.parametrize(
    ("bound", "error", "says"),
    [
        ({"symbol": "x' or true --"}, ConfigError, "BTC/USDT"),
        ({"low": 3.0}, ConfigError, "low must be below high; were 3.0 and 2.0"),
    ],
)
def test_an_unusable_bound_is_named(bound: dict[str, object], error: type[Exception], says: str) -> None:
    quality = Quality(price_bounds=(PriceBound(**{"symbol": "ETH/USDT", "low": 1.0, "high": 2.0, **bound}),))

    with pytest.raises(error, match="ETH/USDT|BTC/USDT") as raised:
        rules_for(OHLCV, quality)

    assert says in str(raised.value)


def test_every_rule_reads_columns_that_conformed_rows_have() -> None:
    for dataset in (OHLCV, FUNDING_RATES):
        known = {*dataset.column_names, *CONFORM_COLUMNS}
        assert [rule.name for rule in rules_for(dataset) if not known.issuperset(rule.reads)] == []


def test_a_published_table_is_judged_by_the_rules_it_has_columns_for() -> None:
    rules = rules_for(OHLCV)

    left = {rule.name for rule in rules} - {rule.name for rule in rules.readable_from(OHLCV.column_names)}

    assert left == {"values_are_readable"}


def test_names_are_unique_and_reasons_need_no_quoting() -> None:
    for dataset in (OHLCV, FUNDING_RATES):
        rules = rules_for(dataset)
        assert len({rule.name for rule in rules}) == len(rules)
        assert not any("'" in rule.reason for rule in rules)


def test_a_predicate_without_marks_is_the_same_everywhere() -> None:
    rule = rules_for(OHLCV).rules[2]

    assert len({rules_for(OHLCV).failed_sql(rule, dialect) for dialect in Dialect}) == 1


def test_a_dataset_without_rules_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="ohlcv, funding_rates, trades; was 'books'"):
        rules_for(replace(OHLCV, name="books"))
