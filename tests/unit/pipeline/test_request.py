import pytest

from marketlake.errors import UnknownNameError, UsageError
from marketlake.pipeline.request import RunRequest, check_request
from marketlake.settings import load_settings

SETTINGS = load_settings(environ={})


def test_empty_lists_mean_all_datasets_and_enabled_exchanges():
    checked = check_request(RunRequest(), SETTINGS, has_window=True)
    assert (checked.datasets, checked.exchanges) == (("ohlcv", "funding_rates", "trades"), ("binance",))


def test_a_timeframe_alone_means_candles():
    assert check_request(RunRequest(timeframes=("1h",)), SETTINGS, has_window=True).datasets == ("ohlcv",)


def test_names_are_kept_once_and_in_order():
    request = RunRequest(datasets=("funding_rates", "ohlcv", "ohlcv"), exchanges=("binance", "binance"))
    checked = check_request(request, SETTINGS, has_window=True)
    assert (checked.datasets, checked.exchanges) == (("funding_rates", "ohlcv"), ("binance",))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (RunRequest(mode="reload"), "mode must be one of"),
        (RunRequest(source="ftp"), "source must be one of"),
        (RunRequest(datasets=("candles",)), "dataset must be one of"),
        (RunRequest(timeframes=("7m",)), "timeframe must be one of"),
        (RunRequest(datasets=("funding_rates",), timeframes=("1h",)), "have no timeframes"),
    ],
)
def test_what_cannot_be_is_refused(request_, message):
    with pytest.raises((UsageError, UnknownNameError), match=message):
        check_request(request_, SETTINGS, has_window=True)


def test_backfill_without_a_window_goes_on_from_the_watermarks_and_force_needs_one():
    with pytest.raises(UsageError, match="name --start and --end"):
        check_request(RunRequest(mode="force"), SETTINGS, has_window=False)


def test_no_exchange_switched_on_is_said():
    off = load_settings(environ={"MARKETLAKE__EXCHANGES__BINANCE__ENABLED": "false"})
    with pytest.raises(UsageError, match="no exchange is switched on"):
        check_request(RunRequest(), off, has_window=True)


def test_a_request_survives_the_ledger():
    request = RunRequest(("ohlcv",), ("binance",), ("BTC/USDT",), ("1m",), "force", "rest", True, True, False, "parent")
    assert RunRequest.from_json(request.to_json()) == request
    assert RunRequest.from_json({**request.to_json(), "of_a_later_version": 1}) == request
