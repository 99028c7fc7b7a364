import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from marketlake.cli.json_text import json_text, plain
from marketlake.instants import Window

AT = datetime(2025, 1, 31, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("42000.010000000000"), "42000.01"),
        (Decimal("0.000000000001"), "0.000000000001"),
        (Decimal("1E+3"), "1000"),
        (Decimal("100.000000000000"), "100"),
        (AT, "2025-01-31T06:00:00Z"),
        (datetime(2025, 1, 31, 6), "2025-01-31T06:00:00"),  # noqa: DTZ001 - a naive datetime is the case under test
        (date(2025, 1, 31), "2025-01-31"),
        (timedelta(seconds=90), 90.0),
        (float("nan"), None),
        (b"\x0f", "0f"),
        (Window(AT, AT + timedelta(days=1)), {"start": "2025-01-31T06:00:00Z", "end": "2025-02-01T06:00:00Z"}),
        ([Decimal("1.5"), {"a": (1, None)}], ["1.5", {"a": [1, None]}]),
    ],
)
def test_each_value_has_one_plain_form(value, text):
    assert plain(value) == text


def test_counts_that_a_query_returns_as_whole_decimals_stay_numbers():
    assert plain(Decimal(37_923)) == 37_923


def test_a_document_is_one_line():
    assert json.loads(json_text({"text": "a\nb"})) == {"text": "a\nb"}
    assert "\n" not in json_text({"text": "a\nb"})
