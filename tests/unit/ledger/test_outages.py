"""Tests for ``marketlake.ledger.outages``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from marketlake.errors import ConfigError
from marketlake.ledger.outages import outage_calendar, read_outages
from marketlake.settings import load_settings

HEAD = "exchange,market_type,symbol,start,end,evidence"


def test_the_shipped_calendar_is_in_order_without_overlaps_and_each_line_has_its_evidence() -> None:
    outages = outage_calendar(load_settings(environ={}))

    windows = [outage.window for outage in outages]
    assert len(windows) == 19
    assert all(a.end <= b.start for a, b in pairwise(windows))
    assert all(outage.evidence for outage in outages)


def test_the_calendar_can_be_switched_off() -> None:
    assert outage_calendar(load_settings(environ={"MARKETLAKE__QUALITY__OUTAGE_CALENDAR": "false"})) == ()


def test_another_file_can_take_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"{HEAD}\nkraken,spot,*,2025-01-01,2025-01-02,their status page\n")

    [outage] = outage_calendar(load_settings(environ={"MARKETLAKE__QUALITY__OUTAGE_CALENDAR_FILE": str(path)}))

    assert (outage.exchange, outage.evidence) == ("kraken", "their status page")


def test_a_missing_file_is_named() -> None:
    settings = load_settings(environ={"MARKETLAKE__QUALITY__OUTAGE_CALENDAR_FILE": "/nowhere.csv"})

    with pytest.raises(ConfigError, match=r"outage_calendar_file '/nowhere.csv' cannot be read"):
        outage_calendar(settings)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([HEAD, "binance,spot,*,soon,2025-01-02,x"], "mine.csv, line 2: start must be a date"),
        ([HEAD, "binance,spot,*,2025-01-02,2025-01-01,x"], "line 2: start must be before end"),
        (["exchange,start"], "mine.csv: the first line must be exchange,market_type"),
    ],
)
def test_a_bad_line_is_named(lines: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read_outages(lines, "mine.csv")
