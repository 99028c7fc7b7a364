"""Tests for ``marketlake.ledger.instruments``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from marketlake.errors import DataError
from marketlake.ledger import instruments_of, instruments_refreshed_at, known_instruments, store_instruments
from marketlake.work import Instrument
from tests.integration.ledger.rows import NOW

BTC = Instrument("binance", "BTC/USDT", "BTCUSDT", "spot", "BTC", "USDT", price_tick=Decimal("0.01"))
ETH = Instrument("binance", "ETH/USDT", "ETHUSDT", "spot", "ETH", "USDT", amount_step=Decimal("0.0001"))
TOMORROW = NOW + timedelta(days=1)


def history(connection: psycopg.Connection, symbol: str) -> list[tuple[Decimal | None, bool]]:
    return connection.execute(
        "select price_tick, valid_to is null from ops.instruments where symbol = %s order by valid_from", [symbol]
    ).fetchall()


def test_the_same_list_again_changes_nothing_but_the_refresh(connection: psycopg.Connection) -> None:
    assert store_instruments(connection, "binance", [BTC, ETH], NOW) == 2
    assert store_instruments(connection, "binance", [BTC, ETH], TOMORROW) == 0

    assert instruments_of(connection, "binance", TOMORROW) == [BTC, ETH]
    assert instruments_refreshed_at(connection, "binance") == TOMORROW


def test_a_change_closes_the_old_row_and_both_are_found_by_date(connection: psycopg.Connection) -> None:
    finer = replace(BTC, price_tick=Decimal("0.001"))
    store_instruments(connection, "binance", [BTC, ETH], NOW)
    assert store_instruments(connection, "binance", [finer, ETH], TOMORROW) == 1

    assert instruments_of(connection, "binance", NOW)[0] == BTC
    assert instruments_of(connection, "binance", TOMORROW)[0] == finer
    assert history(connection, "BTC/USDT") == [(Decimal("0.01"), False), (Decimal("0.001"), True)]


def test_a_market_that_left_the_list_is_closed_and_may_come_back(connection: psycopg.Connection) -> None:
    for at, listed in ((NOW, [BTC, ETH]), (TOMORROW, [BTC]), (TOMORROW + timedelta(days=1), [BTC, ETH])):
        store_instruments(connection, "binance", listed, at)

    assert instruments_of(connection, "binance", TOMORROW) == [BTC]
    assert len(history(connection, "ETH/USDT")) == 2


def test_a_market_that_left_the_list_stays_known_as_delisted_since_then(connection: psycopg.Connection) -> None:
    store_instruments(connection, "binance", [BTC, ETH], NOW)
    store_instruments(connection, "binance", [BTC], TOMORROW)

    assert known_instruments(connection, "binance", NOW) == [BTC, ETH]
    assert known_instruments(connection, "binance", TOMORROW) == [BTC, replace(ETH, delisted_at=TOMORROW)]


def test_the_first_list_also_serves_plans_for_the_past(connection: psycopg.Connection) -> None:
    store_instruments(connection, "binance", [BTC], NOW)

    assert instruments_of(connection, "binance", datetime(2018, 1, 1, tzinfo=UTC)) == [BTC]


def test_a_list_at_the_same_instant_or_from_an_earlier_clock_replaces_the_row(connection: psycopg.Connection) -> None:
    store_instruments(connection, "binance", [BTC], NOW)
    store_instruments(connection, "binance", [replace(BTC, price_tick=Decimal(1))], TOMORROW)
    store_instruments(connection, "binance", [replace(BTC, price_tick=Decimal(2))], TOMORROW)

    assert history(connection, "BTC/USDT") == [(Decimal("0.01"), False), (Decimal(2), True)]


def test_other_exchanges_are_left_alone(connection: psycopg.Connection) -> None:
    kraken = replace(BTC, exchange="kraken")
    store_instruments(connection, "kraken", [kraken], NOW)
    store_instruments(connection, "binance", [ETH], NOW)

    assert instruments_of(connection, "kraken", NOW) == [kraken]
    assert instruments_refreshed_at(connection, "coinbase") is None


@pytest.mark.parametrize(("listed", "text"), [([], "listed no markets"), ([BTC, BTC], "BTC/USDT more than once")])
def test_a_list_that_cannot_be_true_is_refused_and_the_old_one_kept(
    connection: psycopg.Connection, listed: list[Instrument], text: str
) -> None:
    store_instruments(connection, "binance", [BTC, ETH], NOW)

    with pytest.raises(DataError, match=text):
        store_instruments(connection, "binance", listed, TOMORROW)
    assert instruments_of(connection, "binance", TOMORROW) == [BTC, ETH]
