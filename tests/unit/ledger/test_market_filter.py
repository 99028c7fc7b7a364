from datetime import UTC, datetime

from marketlake.instants import Window
from marketlake.ledger import MarketFilter

DAY = Window(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 2, tzinfo=UTC))


def test_a_filter_leaves_out_what_it_does_not_name():
    market = ("ohlcv", "binance", "BTC/USDT", "1m")
    assert MarketFilter().fits(market)
    assert MarketFilter(symbol="BTC/USDT", timeframe="1m").fits(market)
    assert not MarketFilter(dataset="funding_rates").fits(market)


def test_a_filter_that_names_nothing_is_true_of_every_row():
    assert MarketFilter().sql(start="key_at") == ("true", {})


def test_an_empty_timeframe_is_that_of_events_and_not_none_at_all():
    assert MarketFilter(timeframe="").sql(start="key_at") == ("timeframe = %(timeframe)s", {"timeframe": ""})


def test_a_range_has_to_overlap_the_window_and_an_instant_to_lie_in_it():
    bounds = {"start": DAY.start, "end": DAY.end}
    assert MarketFilter(window=DAY).sql(start="gap_start", end="gap_end") == (
        "gap_start < %(end)s and gap_end > %(start)s",
        bounds,
    )
    assert MarketFilter(window=DAY).sql(start="key_at") == ("key_at < %(end)s and key_at >= %(start)s", bounds)
