"""Tests for `marketlake.lake.reading`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from marketlake import Lake
from marketlake.datasets import OHLCV
from marketlake.lake import reading
from tests.lakes import KNOWN, commit, minutes

COLUMNS = ["open_time", "close", "revision", "source"]
# Two months that touch, and one a month later.
MONTHS = (datetime(2024, 1, 31, 23, 30, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a lake of three months: of the first some candles are restated, of the last some come from REST too."""
    for month in MONTHS:
        commit(tmp_path, minutes(month, 30))
    later = KNOWN + timedelta(days=1)
    commit(tmp_path, minutes(MONTHS[0], 5, close="99.75", revision=1, received_at=later, known_at=later))
    commit(tmp_path, minutes(MONTHS[2], 40, source="rest", received_at=later, known_at=later))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "parts"),
    [({}, [1, 3]), ({"start": MONTHS[0] + timedelta(minutes=3)}, [1, 3]), ({"as_of": KNOWN}, [])],
)
def test_months_that_are_ranked_apart_give_the_rows_of_all_ranked_together(root, monkeypatch, options, parts):
    counts = list[int]()
    apart = reading._apart

    def counted(*arguments):
        found = apart(*arguments)
        counts.append(len(found))
        return found

    monkeypatch.setattr(reading, "_apart", counted)
    together = Lake(root).candles("BTC/USDT", "1m", columns=COLUMNS, exact=True, **options)
    monkeypatch.setattr(reading, "_PART_ROWS", 1)
    assert Lake(root).candles("BTC/USDT", "1m", columns=COLUMNS, exact=True, **options).equals(together)
    assert counts == parts


def test_each_instant_shows_its_current_row_however_the_months_are_read(root, monkeypatch):
    monkeypatch.setattr(reading, "_PART_ROWS", 1)
    rows = Lake(root).candles("BTC/USDT", "1m", columns=COLUMNS).to_pylist()
    expected = [*minutes(MONTHS[0], 30), *minutes(MONTHS[1], 30), *minutes(MONTHS[2], 40)]
    assert [row["open_time"] for row in rows] == [row["open_time"] for row in expected]
    assert [row["revision"] for row in rows] == [1] * 5 + [0] * 95
    assert [row["source"] for row in rows] == ["archive"] * 90 + ["rest"] * 10


def test_files_that_share_an_instant_are_ranked_together(root, monkeypatch):
    monkeypatch.setattr(reading, "_PART_ROWS", 1)
    files = list(Lake(root)._table(OHLCV, None).files)
    parts = reading._apart(files, "open_time")
    assert sorted(map(len, parts)) == [1, 2, 2]
    assert sorted(file.path for part in parts for file in part) == sorted(file.path for file in files)
