"""REST segments while they grow, and after a crash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from marketlake.errors import DataError
from marketlake.landing import LandingArea, Segment, segment_lines

PATH = "binance/ohlcv/rest/run/task.jsonl"
BODY = '[[1,"0.10000000","é\\n"]]'


def test_a_segment_keeps_every_body_exactly_and_lands_when_it_is_finished(tmp_path: Path) -> None:
    area = LandingArea(tmp_path)

    with Segment(area, PATH) as segment:
        segment.append({"body": BODY})
        segment.append({"body": "[]"})
        assert area.stored(PATH) is None
        stored = segment.finish({"task_id": "task"})

    path = area.absolute(PATH)
    assert [line["body"] for line in segment_lines(path)] == [BODY, "[]"]
    assert stored.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (stored.bytes, stored.meta["task_id"]) == (path.stat().st_size, "task")


def test_a_segment_that_is_not_finished_is_readable_and_has_not_landed(tmp_path: Path) -> None:
    area = LandingArea(tmp_path)
    segment = Segment(area, PATH)
    segment.append({"body": BODY})
    segment.append({"body": "[]"})

    partial = area.partial(PATH)
    partial.write_bytes(partial.read_bytes()[:-5])  # a crash in the middle of a line

    assert [line["body"] for line in segment_lines(partial)] == [BODY]
    assert area.stored(PATH) is None


def test_a_new_attempt_begins_the_segment_anew(tmp_path: Path) -> None:
    area = LandingArea(tmp_path)
    Segment(area, PATH).append({"body": "old"})

    with Segment(area, PATH) as segment:
        segment.append({"body": "new"})
        segment.finish({})

    assert [line["body"] for line in segment_lines(area.absolute(PATH))] == ["new"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"body":1}\n{"bo\n{"body":3}\n')

    with pytest.raises(DataError, match=r"line 2 of .*x\.jsonl is damaged"):
        list(segment_lines(path))
