"""What the ledger was told goes to JSON and comes back the same, type for type."""

from datetime import UTC, date, datetime, timedelta

import pytest

from marketlake.errors import DataError
from marketlake.instants import Window
from marketlake.ledger import Agreement, Change, Disagreement, Fact, LoadedArchive, LoadRecord, MarketVerdict, typed
from marketlake.ledger.entries import plain

AT = datetime(2025, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
WINDOW = Window(AT, AT + timedelta(hours=1))
MARKET = ("ohlcv", "binance", "BTC/USDT", "1h")
FACT = Fact(*MARKET, window=WINDOW, state="pending", source="rest", attempt_day=date(2025, 3, 1), retry_at=AT)
LOAD = LoadRecord(
    *("l1", "bronze.ohlcv", "ohlcv", "binance", "m1", "r1"),
    known_at=AT,
    seconds=1.5,
    details={"outside_window": 2, "failed_expectations": ["fresh"]},
    facts=(FACT, Fact(*MARKET, window=WINDOW, state="present")),
    agreements=(Agreement(*MARKET, "rest", WINDOW, AT),),
    disagreements=(Disagreement(*MARKET, AT, "close", "archive", "1.10", "rest", "1.2", "archive"),),
    changes=(Change(*MARKET, WINDOW),),
    archives=(LoadedArchive("a.zip", "ab" * 32, 24, AT, None, AT, since=AT),),
)


@pytest.mark.parametrize("told", [LOAD, FACT, MarketVerdict("binance", "BTC/USDT", 24, 1, reasons={"high < low": 1})])
def test_what_was_told_comes_back_the_same(told):
    assert typed(type(told), plain(told)) == told


def test_what_fits_no_record_is_named():
    with pytest.raises(DataError, match="an entry of the ledger is no Fact: .*colour"):
        typed(Fact, plain(FACT) | {"colour": "red"})
    with pytest.raises(DataError, match="an entry of the ledger is no Fact; it was None"):
        typed(Fact, None)
