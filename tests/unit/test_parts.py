"""The parts of the long proofs: shared out in one way, gone on with where they stood, kept by commit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from marketlake.errors import UsageError
from tests.parts import SECONDS, Part, read_results, share_out
from tests.subprocesses import with_library

REPOSITORY = Path(__file__).resolve().parents[2]
CONFTEST = """
import os
from tests.parts import plugin_of

def pytest_configure(config):
    config.addinivalue_line("markers", "seeded: stands alone")
    if (plugin := plugin_of(os.environ)) is not None:
        config.pluginmanager.register(plugin)
"""
MODULE = """
from pathlib import Path
import pytest

@pytest.mark.seeded
@pytest.mark.parametrize("seed", range(4))
def test_a_seed(seed, record_property):
    record_property("runs", seed)
    print("ran", seed)
    assert seed != 2 or Path(__file__).with_name("mended").exists()
"""


def run(folder: Path, *, part: str = "1/1", commit: str = "abc") -> str:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_seeds.py").write_text(MODULE)
    # As of the long proofs' folders: one whose settings are not for the tests of the others.
    (folder / "others").mkdir(exist_ok=True)
    (folder / "others" / "conftest.py").touch()
    (folder / "others" / "test_nothing.py").write_text("def test_nothing(): ...")
    environ = with_library(ACCEPTANCE_RESULTS=str(folder / commit), PART=part)
    environ["PYTHONPATH"] += f":{REPOSITORY}"
    command = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(folder)]
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True).stdout


def ran(output: str) -> list[int]:
    return [int(line.split("ran ")[1][0]) for line in output.splitlines() if "ran " in line]


def test_what_passed_is_not_run_again_and_what_failed_is(tmp_path: Path) -> None:
    assert ran(run(tmp_path)) == [0, 1, 2, 3]

    kept = read_results(tmp_path / "abc")
    results = {test.partition("[")[2]: result for test, result in kept.items() if "test_a_seed" in test}
    assert {name: (one["outcome"], one["properties"]) for name, one in results.items()} == {
        "0]": ("passed", {"runs": 0}),
        "1]": ("passed", {"runs": 1}),
        "2]": ("failed", {"runs": 2}),
        "3]": ("passed", {"runs": 3}),
    }
    assert "mended" in results["2]"]["said"]

    assert ran(run(tmp_path)) == [2]


def test_parts_share_the_tests_and_another_commits_results_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "mended").touch()

    first, second = (ran(run(tmp_path, part=f"{number}/2")) for number in (1, 2))

    assert sorted(first + second) == [0, 1, 2, 3]
    assert len(first) == len(second)
    assert ran(run(tmp_path, part="1/2", commit="def")) == first


def test_units_are_shared_out_by_their_seconds_and_always_alike() -> None:
    kills = "tests/acceptance/test_kills.py"
    seeds = [f"tests/acceptance/test_fault_mixes.py::test[{seed}]" for seed in range(100)]

    parts = share_out([*seeds, kills], 3)

    assert parts == share_out([kills, *seeds[::-1]], 3)
    beside = sum(parts[seed] == parts[kills] for seed in seeds)
    assert 0 < beside + 30 < sum(parts[seed] != parts[kills] for seed in seeds) / 2


def test_seconds_are_claimed_of_modules_that_there_are() -> None:
    assert [name for name in SECONDS if not (REPOSITORY / name).is_file()] == []


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", ""])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="PART must be like 2/6"):
        Part.parse(text)
