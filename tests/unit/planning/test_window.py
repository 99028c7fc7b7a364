"""Tests for ``marketlake.planning.window``."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from marketlake.errors import WindowError
from marketlake.instants import DAY, Window, parse_window
from marketlake.planning.window import window_of_run
from tests.subprocesses import with_library

ONE_AM = (datetime(2025, 1, 2, 1, tzinfo=UTC), datetime(2025, 1, 3, 1, tzinfo=UTC))
NOW = datetime(2025, 3, 1, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"start": "2025-01-01", "end": "2025-01-03"}, ("2025-01-01", "2025-01-03"), id="both ends"),
        pytest.param({"start": "2025-01-01", "now": NOW}, ("2025-01-01", "2025-03-01T12:30:00Z"), id="up to now"),
        pytest.param({"days": 7, "end": "2025-01-08"}, ("2025-01-01", "2025-01-08"), id="days before an end"),
        pytest.param({"days": 2, "now": NOW}, ("2025-02-27", "2025-03-01"), id="whole days before today"),
        pytest.param(
            {"days": 1, "interval": ONE_AM}, ("2025-01-02", "2025-01-03"), id="days before the interval's end"
        ),
        pytest.param({"interval": ONE_AM, "grain": DAY}, ("2025-01-02", "2025-01-03"), id="the day of a daily DAG"),
        pytest.param({"interval": ONE_AM}, ("2025-01-02T01:00:00Z", "2025-01-03T01:00:00Z"), id="interval as it is"),
        pytest.param(
            {"assets": [parse_window("2025-01-05", "2025-01-06"), parse_window("2025-01-01", "2025-01-02")]},
            ("2025-01-01", "2025-01-06"),
            id="all that assets report",
        ),
        pytest.param(
            {
                "start": "2025-01-01",
                "end": "2025-01-02",
                "interval": ONE_AM,
                "assets": [parse_window("2024-01-01", "2025-01-01")],
            },
            ("2025-01-01", "2025-01-02"),
            id="params win",
        ),
    ],
)
def test_the_window_comes_from_the_first_that_is_given(given: dict[str, Any], expected: tuple[str, str]) -> None:
    assert window_of_run(**given) == parse_window(*expected)


def test_without_anything_each_market_goes_on_from_its_watermark() -> None:
    assert window_of_run(now=NOW) is None
    assert window_of_run(interval=(NOW, NOW), now=NOW) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        pytest.param({"start": "2025-01-02", "end": "2025-01-02"}, "start must be before end", id="empty"),
        pytest.param({"start": "2025-01-02", "end": "2025-01-01"}, "start must be before end", id="reversed"),
        pytest.param({"start": "yesterday", "end": "2025-01-01"}, "start must be a date", id="unreadable"),
        pytest.param({"start": "2025-01-01T00:00", "end": "2025-01-02"}, "names no zone", id="naive"),
        pytest.param({"start": "0001-01-01", "end": "2025-01-02"}, "start must not be before 2009", id="absurd"),
        pytest.param({"start": "2010-01-01", "end": "2025-01-01"}, "at most 10 years", id="too long"),
        pytest.param({"days": 0, "now": NOW}, "days must be at least 1; was 0", id="no days"),
        pytest.param({"days": 10**9, "now": NOW}, "days must be at most", id="absurd days"),
        pytest.param({"days": 3, "start": "2025-01-01"}, "days must not be given together", id="days and start"),
        pytest.param({"end": "2025-01-01"}, "start must be given with an end", id="only an end"),
        pytest.param({"start": "2025-01-01"}, "end must be given", id="nothing to end at"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_naming_the_field(given: dict[str, Any], text: str) -> None:
    with pytest.raises(WindowError, match=text):
        window_of_run(**given)


def test_a_daily_run_works_on_whole_days_only_when_its_interval_holds_one() -> None:
    morning = (datetime(2025, 1, 2, 1, tzinfo=UTC), datetime(2025, 1, 2, 9, tzinfo=UTC))

    assert window_of_run(interval=morning, grain=DAY) is None
    assert window_of_run(interval=morning) == Window(*morning)


def test_the_window_module_imports_nothing_that_airflow_lacks() -> None:
    code = (
        "import sys, marketlake.planning.window\n"
        "heavy = {'psycopg', 'pyarrow', 'pydantic', 'yaml', 'ccxt', 'deltalake', 'httpx'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )

    done = subprocess.run([sys.executable, "-c", code], env=with_library(), capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
