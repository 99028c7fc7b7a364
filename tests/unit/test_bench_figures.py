"""Tests for ``tests.bench.figures``: what `make bench` writes is read by programs."""

from __future__ import annotations

import json
import re
import subprocess
from io import StringIO
from pathlib import Path

from rich.console import Console

from tests.bench.figures import Figure, commit, print_figures, seconds_of, write_figures

FIGURES = [
    Figure("rows/s beside a peer", 0.5, 0.4, "higher", "our 5 s, theirs 2.5 s"),
    Figure("nothing to do beside a Spark start", 0.6, 0.5, "lower"),
    Figure("no target yet", 1.0, None, "lower"),
]


def test_the_file_is_a_list_of_name_ratio_target_and_direction(tmp_path: Path) -> None:
    path = tmp_path / "build" / "bench.json"
    write_figures(FIGURES, path=path)
    assert json.loads(path.read_text())[0] == {
        "name": "rows/s beside a peer",
        "ratio": 0.5,
        "target": 0.4,
        "better": "higher",
    }
    assert [item["target"] for item in json.loads(path.read_text())] == [0.4, 0.5, None]


def test_a_target_is_met_in_its_own_direction() -> None:
    assert [figure.verdict for figure in FIGURES] == ["met", "missed", ""]


def test_the_table_names_versions_and_commit() -> None:
    out = StringIO()
    print_figures(FIGURES, console=Console(file=out, width=300))
    assert "commit" in out.getvalue()
    assert "pyspark 4.1.4" in out.getvalue()
    assert "missed" in out.getvalue()
    assert re.search(r"\d+ cores, \d+ GiB, Linux", out.getvalue())


def test_uncommitted_changes_are_marked_beside_the_commit(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    clean = commit(tmp_path)
    (tmp_path / "new.py").touch()
    assert re.fullmatch(r"[0-9a-f]{7,}", clean)
    assert commit(tmp_path) == f"{clean}+changes"


def test_the_median_of_the_runs_counts() -> None:
    assert seconds_of(lambda: None, times=3) >= 0
