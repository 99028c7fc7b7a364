"""The tape: trades by minute, numbered without gaps, and the 1m candles that are their sums."""

import numpy as np
import pytest

from marketlake.sandbox.listings import SPOT, UM, synthetic_listings
from marketlake.sandbox.tape import BAR_FIELDS, BLOCK_MINUTES, MINUTE_MS, SLOTS, Tape, trades_of

LISTINGS = synthetic_listings(0)
EVERY = [(venue, symbol) for venue in (SPOT, UM) for symbol in LISTINGS[venue]]
START = 28_930_000  # a minute of January 2025, not at a block's start


def tape_of(venue: str, symbol: str, seed: int = 7) -> Tape:
    return Tape(seed, LISTINGS[venue][symbol])


@pytest.mark.parametrize(("venue", "symbol"), EVERY)
def test_candles_are_the_sums_of_the_trades(venue: str, symbol: str) -> None:
    tape = tape_of(venue, symbol)
    bars, fills = tape.bars(START, START + 300), tape.fills(START, START + 300)
    minute = fills.time_us // (MINUTE_MS * 1000)
    close = None
    for row in range(300):
        mine = minute == START + row
        prices, amounts = fills.price[mine], fills.amount[mine]
        bought = ~fills.buyer_is_maker[mine]
        assert bars.minute[row] == START + row
        assert bars.volume[row] == amounts.sum()
        assert bars.quote[row] == (prices * amounts).sum()
        assert bars.taker_volume[row] == amounts[bought].sum()
        assert bars.taker_quote[row] == (prices * amounts)[bought].sum()
        first, last = trades_of(fills.number[mine])
        assert bars.count[row] == (last - first + 1).sum()
        four = (bars.open[row], bars.high[row], bars.low[row], bars.close[row])
        if len(prices):
            assert four == (prices[0], prices.max(), prices.min(), prices[-1])
        elif close is not None:
            assert four == (close,) * 4
        close = bars.close[row]


@pytest.mark.parametrize(("venue", "symbol"), EVERY)
def test_fill_numbers_have_no_gap_and_lead_back_to_their_minute(venue: str, symbol: str) -> None:
    tape = tape_of(venue, symbol)
    fills = tape.fills(START, START + 100)
    assert np.array_equal(np.diff(fills.number), np.ones(len(fills.number) - 1))
    minutes = fills.time_us // (MINUTE_MS * 1000)
    assert [tape.minute_of(int(number)) for number in fills.number] == minutes.tolist()
    assert tape.first_number(START) == fills.number[0]
    assert tape.first_number(START + 100) == fills.number[-1] + 1


def test_times_never_go_back() -> None:
    fills = tape_of(SPOT, "BTCUSDT").fills(START, START + 2000)
    assert (np.diff(fills.time_us) >= 0).all()


def test_the_first_trade_of_a_listing_is_number_zero() -> None:
    tape = tape_of(SPOT, "BTCUSDT")
    listed = tape.listing.listed_ms // MINUTE_MS
    assert tape.fills(listed, listed + 1).number[0] == 0


def test_trade_ids_have_no_gap_and_every_fourth_fill_is_two_trades() -> None:
    first, last = trades_of(np.arange(1000))
    assert np.array_equal(first[1:], last[:-1] + 1)
    assert (last - first).sum() == 250


@pytest.mark.parametrize("cut", [(0, 1), (1, 7), (5, 9000), (8191, 8193), (123, 20_000)])
def test_candles_do_not_depend_on_where_one_begins_to_ask(cut: tuple[int, int]) -> None:
    tape = tape_of(SPOT, "XRPETH")
    base = 28_929_024
    whole = tape.bars(base, base + 20_000)
    part = tape.bars(base + cut[0], base + cut[1])
    for name in BAR_FIELDS:
        assert np.array_equal(getattr(part, name), getattr(whole, name)[cut[0] : cut[1]]), name


def test_quiet_symbols_have_minutes_without_a_trade_and_busy_ones_hardly() -> None:
    quiet, busy = tape_of(SPOT, "XRPETH").bars(START, START + 5000), tape_of(SPOT, "BTCUSDT").bars(START, START + 5000)
    assert 0.1 < (quiet.count == 0).mean() < 0.6
    assert (busy.count == 0).mean() < 0.02


def test_a_block_holds_the_same_number_of_fills_whatever_its_pattern() -> None:
    tape = tape_of(SPOT, "ETHUSDT")
    start = START // BLOCK_MINUTES * BLOCK_MINUTES
    numbers = [tape.first_number(start + block * BLOCK_MINUTES) for block in range(200)]
    assert set(np.diff(numbers).tolist()) == {tape.per_block}
    fills = tape.fills(start, start + 1600)
    counts = np.bincount(fills.time_us // (MINUTE_MS * 1000) - start)
    assert counts.max() <= SLOTS
    assert len(set(counts.tolist())) > 4


def test_another_seed_is_another_market() -> None:
    one, other = (
        tape_of(SPOT, "BTCUSDT", 7).bars(START, START + 10),
        tape_of(SPOT, "BTCUSDT", 8).bars(START, START + 10),
    )
    assert not np.array_equal(one.close, other.close)


def test_bars_are_valid_candles_everywhere() -> None:
    for venue, symbol in EVERY:
        bars = tape_of(venue, symbol).bars(START, START + 10_000)
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert (bars.low > 0).all()
        assert (bars.taker_volume <= bars.volume).all()
        assert (bars.taker_quote <= bars.quote).all()
