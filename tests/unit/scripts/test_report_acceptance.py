"""Tests for ``scripts.report_acceptance``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.report_acceptance import main, report_of, text_of

MIX = {"rows": 10, "lost": 0, "doubled": 0, "invented": 0, "runs": 5, "requests": 40}
MIXES = "tests/acceptance/test_fault_mixes.py::test_it"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The results of a commit of which one mix, one kill and one plain test are wanted in two parts."""
    folder = tmp_path / "0123456789ab"
    folder.mkdir()
    wanted = {f"{MIXES}[1]": 1, f"{MIXES}[2]": 2, "kills[a]": 1, "plain": 2}
    (folder / "tests-2.json").write_text(json.dumps({"tests": wanted}))
    return folder


def keep(folder: Path, test: str, outcome: str = "passed", **properties: Any) -> None:
    result = {"test": test, "outcome": outcome, "seconds": 2.0, "properties": properties}
    (folder / f"{len(list(folder.iterdir()))}.json").write_text(json.dumps(result))


def test_a_report_adds_up_what_the_seeds_counted(folder: Path) -> None:
    keep(folder, f"{MIXES}[1]", **MIX)
    keep(folder, f"{MIXES}[2]", "failed", **{**MIX, "lost": 3})

    report = report_of(folder, "1/2")

    assert report["fault_mixes"] == {"seeds": 2, "seeds_wanted": 2, "passed": 1, **MIX, "rows": 20, "lost": 3,
                                     "runs": 10, "requests": 80}  # fmt: skip
    assert (report["failed"], report["left"], report["is_complete"]) == ([], ["kills[a]"], False)
    assert report_of(folder, "2/2")["failed"] == [f"{MIXES}[2]"]


def test_kills_are_counted_by_point_and_only_where_there_was_something_to_kill(folder: Path) -> None:
    wanted = {f"kills[{number}]": 1 for number in range(3)}
    (folder / "tests-1.json").write_text(json.dumps({"tests": wanted}))
    keep(folder, "kills[0]", point="random", was_running=True)
    keep(folder, "kills[1]", "failed", point="random", was_running=True)
    keep(folder, "kills[2]", point="random", was_running=False)

    assert report_of(folder, "1/1")["kills"] == {"random": {"kills": 2, "equal": 1}}


def test_a_part_is_done_when_its_own_tests_passed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(folder, f"{MIXES}[1]", **MIX)
    assert main([str(folder), "1/2"]) == 1
    assert "not run: kills[a]" in capsys.readouterr().out

    keep(folder, "kills[a]", point="a")

    assert main([str(folder), "1/2"]) == 0
    said = capsys.readouterr().out
    assert "other parts are left to do" in said
    assert (folder / "report" / "report.txt").read_text() in said
    assert json.loads((folder / "report" / "report.json").read_text())["passed"] == 2


def test_a_folder_without_results_is_no_success(tmp_path: Path) -> None:
    assert main([str(tmp_path), "1/1"]) == 1
    assert "0 of 0 tests passed" in text_of(report_of(tmp_path, "1/1"))
