"""Tests for ``scripts.count_tests``."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import count_tests


@pytest.mark.parametrize(
    ("cases", "line", "code"),
    [
        ("<testcase/><testcase><skipped message='no data'/></testcase>", "tests: 1 passed, 0 failed, 1 skipped", 0),
        ("<testcase/><testcase><failure/></testcase>", "tests: 1 passed, 1 failed, 0 skipped", 1),
        ("<testcase><error/></testcase>", "tests: 0 passed, 1 failed, 0 skipped", 1),
        ("", "tests: 0 passed, 0 failed, 0 skipped", 1),
    ],
)
def test_counts_are_printed_and_decide_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cases: str, line: str, code: int
) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")

    assert count_tests.main([str(file)]) == code
    assert capsys.readouterr().out.splitlines()[0] == line
