"""What each row fault makes of candles and funding events."""

from typing import Any

import pytest

from marketlake.sandbox.faults import Call, Fault, Faults
from marketlake.sandbox.rows import FUNDING_FILE, FUNDING_REST, KLINES, change_rows

CALL = Call("rest", "spot", "klines", "/api/v3/klines", "BTCUSDT", "1m", 0, 10**13)
MINUTE = 60_000
JANUARY = 1_735_689_600_000


def candle(minute: int, *, unit: int = 1) -> list[Any]:
    opened = (JANUARY + minute * MINUTE) * unit
    return [
        opened,
        "10.00",
        "12.00",
        "9.00",
        "11.00",
        "5.000",
        opened + MINUTE * unit - 1,
        "55.0",
        3,
        "1.0",
        "11.0",
        "0",
    ]


def fault_of(name: str, **parameters: Any) -> Fault:
    window = {} if name == "unit_switch" else {"start": "2025-01-01T00:01:00Z", "end": "2025-01-01T00:03:00Z"}
    return Faults().add(name, **(window | parameters))


def changed(fault: Fault) -> list[list[Any]]:
    return change_rows(fault, CALL, KLINES, [candle(minute) for minute in range(5)])


def minutes(rows: list[list[Any]]) -> list[int]:
    return [(row[0] - JANUARY) // MINUTE for row in rows]


def test_gaps_leave_rows_out() -> None:
    assert minutes(changed(fault_of("gaps"))) == [0, 3, 4]


def test_duplicates_repeat_rows() -> None:
    assert minutes(changed(fault_of("duplicates"))) == [0, 1, 1, 2, 2, 3, 4]


def test_disorder_turns_the_window_around() -> None:
    assert minutes(changed(fault_of("disorder"))) == [0, 2, 1, 3, 4]


@pytest.mark.parametrize(
    ("parameters", "row"),
    [
        ({}, ["10.00", "12.00", "9.00", "11.01", "5.000"]),
        ({"by_pct": 50}, ["10.00", "16.50", "9.00", "16.50", "5.000"]),
        ({"by_pct": -50}, ["10.00", "12.00", "5.50", "5.50", "5.000"]),
        ({"field": "volume", "by_pct": 10}, ["10.00", "12.00", "9.00", "11.00", "5.500"]),
        ({"field": "high", "by_pct": 0.001}, ["10.00", "12.01", "9.00", "11.00", "5.000"]),
    ],
)
def test_a_restated_candle_has_another_value_and_is_still_a_candle(parameters: dict[str, Any], row: list[str]) -> None:
    rows = changed(fault_of("restated_candle", **parameters))
    assert [rows[1][1:6], rows[2][1:6]] == [row, row]
    assert rows[0] == candle(0)
    assert rows[3:] == [candle(3), candle(4)]


def test_a_value_that_was_not_recorded_is_not_restated() -> None:
    row = candle(1)
    row[7] = None
    fault = fault_of("restated_candle", field="quote_volume")
    assert change_rows(fault, CALL, KLINES, [row]) == [row]


def test_an_unreadable_number_is_the_text_asked_for() -> None:
    rows = changed(fault_of("unreadable_number", field="low", value="1,5"))
    assert [row[3] for row in rows] == ["9.00", "1,5", "1,5", "9.00", "9.00"]


@pytest.mark.parametrize(("unit", "digits"), [("s", 10), ("ms", 13), ("us", 16)])
@pytest.mark.parametrize("was", [1, 1000])
def test_a_unit_switch_rewrites_both_instants(unit: str, digits: int, was: int) -> None:
    row = [str(field) for field in candle(0, unit=was)]
    changed = change_rows(fault_of("unit_switch", unit=unit), CALL, KLINES, [row])[0]
    assert [len(changed[0]), len(changed[6])] == [digits, digits]
    assert changed[0] == str(JANUARY * 1000)[:digits]
    assert changed[1:6] == row[1:6]


def test_a_microsecond_row_is_placed_by_its_instant() -> None:
    assert KLINES.instant_ms([str(JANUARY * 1000)]) == JANUARY


def test_funding_rates_are_restated_in_rest_and_in_files() -> None:
    fault = fault_of("restated_candle", field="funding_rate", by_pct=10)
    record = {"symbol": "BTCUSDT", "fundingRate": "0.00010000", "fundingTime": JANUARY + MINUTE, "markPrice": None}
    line = [str(JANUARY + MINUTE), "8", "-0.00000001"]
    assert change_rows(fault, CALL, FUNDING_REST, [record])[0] == record | {"fundingRate": "0.00011000"}
    assert change_rows(fault, CALL, FUNDING_FILE, [line])[0] == [line[0], "8", "0.00000000"]
    assert changed(fault) == [candle(minute) for minute in range(5)]


def test_a_restated_candle_is_not_a_restated_funding_rate() -> None:
    line = [str(JANUARY + MINUTE), "8", "0.00010000"]
    assert change_rows(fault_of("restated_candle"), CALL, FUNDING_FILE, [line]) == [line]
