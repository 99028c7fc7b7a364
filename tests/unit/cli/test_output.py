from datetime import UTC, datetime
from decimal import Decimal

import pytest

from marketlake.cli.output import Output, cell, share, size_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.1 + 0.2, "0.3"),
        (Decimal("1.50"), "1.5"),
        (datetime(2025, 1, 31, tzinfo=UTC), "2025-01-31T00:00:00Z"),
        (["a", "b"], "a, b"),
        ("x[y]", r"x\[y]"),
    ],
)
def test_each_value_has_a_short_text(value, text):
    assert cell(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(1.0, "100%"), (0.9999999, "99.9999%"), (0.713, "71.3%"), (0.0, "0%"), (None, None)]
)
def test_only_what_is_complete_reads_as_a_hundred_per_cent(fraction, text):
    assert share(fraction) == text


@pytest.mark.parametrize(("size", "text"), [(16, "16 B"), (16275, "15.9 KiB"), (3 << 30, "3.0 GiB"), (None, None)])
def test_sizes_are_in_a_unit_that_people_read(size, text):
    assert size_text(size) == text


def test_with_json_only_the_document_is_printed(capsys):
    out = Output(as_json=True)
    out.say("hello")
    out.table("t", ["a"], [[1]])
    out.document({"a": 1})
    assert capsys.readouterr().out == '{"a": 1}\n'


def test_a_table_without_rows_says_none(capsys):
    Output(as_json=False).table("Holes", ["a"], [])
    assert capsys.readouterr().out == "Holes: none\n"
