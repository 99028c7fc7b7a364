"""The registry of faults and how their parameters are read."""

import pytest

from marketlake.errors import UnknownNameError, UsageError, WindowError
from marketlake.sandbox.fault_kinds import KINDS, kind_named, read_parameters, registry

PROMISED = {
    "gaps", "duplicates", "disorder", "restated_candle", "open_candle", "unreadable_number", "wrong_checksum",
    "damaged_zip", "missing_archive", "archive_reissued", "unit_switch", "page_overlap", "clock_skew",
    "too_many_requests", "banned", "forbidden", "unavailable", "reset", "slow", "truncated_body", "html_ok", "silence",
    "delisting", "funding_interval_change", "restricted",
}  # fmt: skip


def test_every_promised_fault_is_there_and_explained() -> None:
    assert set(KINDS) == PROMISED
    assert all(kind["doc"] and all(kind["parameters"].values()) for kind in registry())


def test_an_unknown_fault_is_refused_with_the_list() -> None:
    with pytest.raises(UnknownNameError, match=r"fault must be one of gaps, duplicates, .*; was 'gap'"):
        kind_named("gap")


def test_an_unknown_parameter_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"parameter of fault slow must be one of market, .*seconds; was 'second'"):
        read_parameters(kind_named("slow"), {"second": 3})


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("slow", {"seconds": "soon"}, "seconds of fault slow must be a number; was 'soon'"),
        ("slow", {"seconds": float("nan")}, "must be from 0 to 3600"),
        ("slow", {"seconds": 9999}, "must be from 0 to 3600; was 9999"),
        ("unavailable", {"status": 404}, "status of fault unavailable must be from 500 to 599; was 404"),
        ("forbidden", {"page": "red"}, "page of fault forbidden must be one of plain, cloudfront; was 'red'"),
        ("delisting", {}, "at of fault delisting is needed"),
        ("gaps", {}, "gaps needs start and end, or a probability below 1"),
        ("gaps", {"start": "2025-01-02", "end": "2025-01-01"}, "start must be before end"),
        ("silence", {"symbol": "BTC/USDT", "market": "um"}, "'BTC/USDT' is of market spot; market was 'um'"),
        ("silence", {"times": 0}, "times of fault silence must be from 1"),
    ],
)
def test_a_wrong_value_is_refused_and_named(name: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_parameters(kind_named(name), given)


def test_an_unreadable_instant_is_refused() -> None:
    with pytest.raises(WindowError, match="parameter at of fault delisting"):
        read_parameters(kind_named("delisting"), {"at": "soon"})


def test_values_are_read_from_text_and_defaults_filled_in() -> None:
    values = read_parameters(kind_named("gaps"), {"start": "2025-01-01", "probability": "0.5", "times": "2"})
    assert (values["start"], values["probability"], values["times"], values["after"]) == (1735689600000, 0.5, 2, 0)
    assert values["source"] == "both"


@pytest.mark.parametrize(
    ("symbol", "market", "plain"),
    [("BTC/USDT", "spot", "BTCUSDT"), ("BTC/USDT:USDT", "um", "BTCUSDT"), ("BTCUSDT", None, "BTCUSDT")],
)
def test_a_unified_symbol_names_its_market(symbol: str, market: str | None, plain: str) -> None:
    values = read_parameters(kind_named("silence"), {"symbol": symbol})
    assert (values["market"], values["symbol"]) == (market, plain)
