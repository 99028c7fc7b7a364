"""The long proofs in parts that can be stopped: which tests are a part's, and a result kept for each.

Switched on by `ACCEPTANCE_RESULTS`, the folder of this commit's results. A test that passed for this commit is not run
again; `PART=2/6` runs the second of six parts. Tests marked `seeded` stand alone and are shared out one by one, all
others by module, because what a module's tests share is made once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from marketlake.errors import UsageError

RESULTS, PART = "ACCEPTANCE_RESULTS", "PART"
PASSED = "passed"
# Rough seconds of a unit where they are far from the usual ones; only the balance of the parts hangs on them.
SECONDS = {
    "tests/acceptance/test_kills.py": 1900,
    "tests/acceptance/test_real_scheduler.py": 900,
    "tests/acceptance/test_recorded_data.py": 900,
    "tests/acceptance/test_bulk.py": 500,
    "tests/acceptance/test_trades.py": 450,
    "tests/acceptance/test_bad_input.py": 400,
    "tests/acceptance/test_concurrency_airflow.py": 300,
    "tests/acceptance/test_concurrency_orders.py": 300,
    "tests/acceptance/test_refusals.py": 300,
    "tests/acceptance/test_damaged_landing.py": 250,
    "tests/acceptance/test_restatements.py": 210,
    "tests/acceptance/test_recovery.py": 180,
    "tests/acceptance/test_concurrency.py": 120,
    "tests/acceptance/test_bulk_kills.py": 100,
    "tests/acceptance/test_scaling.py": 60,
    "tests/acceptance/test_random_kills.py": 40,
    "tests/acceptance/test_fault_mixes.py": 15,
}
_USUAL_SECONDS = 150


@dataclass(frozen=True)
class Part:
    """The part `number` of `of`, counted from 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """Return the part that `2/6` names.

        Raises:
            UsageError: it names none.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"PART must be like 2/6, from 1/6 to 6/6; was {text!r}")
        return cls(int(found[1]), int(found[2]))


def share_out(units: Iterable[str], of: int) -> dict[str, int]:
    """Return the number of the part of each unit: a module, or one test; the longest first, each to the emptiest part.

    The same units are always shared out in the same way.
    """
    loads = [0.0] * of
    parts = {}
    for unit in sorted(units, key=lambda one: (-_seconds(one), one)):
        number = loads.index(min(loads))
        loads[number] += _seconds(unit)
        parts[unit] = number + 1
    return parts


def unit_of(test: str, *, stands_alone: bool) -> str:
    """Return the unit of a test's node id: itself, or its module."""
    return test if stands_alone else test.partition("::")[0]


def result_file(folder: Path, test: str) -> Path:
    """Return where a test's result is kept."""
    return folder / f"{hashlib.sha256(test.encode()).hexdigest()[:20]}.json"


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results kept in a folder by test."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return {one["test"]: one for one in found if "outcome" in one}


@dataclass(eq=False)
class Parts:
    """The plugin: deselects what is another part's or passed already, and keeps each result. pytest hashes it."""

    folder: Path
    part: Part
    _open: dict[str, dict[str, Any]] = field(default_factory=dict)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what this part has still to do."""
        units = {one.nodeid: _unit(one) for one in items}
        parts = share_out(set(units.values()), self.part.of)
        self.folder.mkdir(parents=True, exist_ok=True)
        number_of = {test: parts[unit] for test, unit in units.items()}
        _write(self.folder / f"tests-{self.part.of}.json", {"tests": number_of})
        passed = {test for test, result in read_results(self.folder).items() if result["outcome"] == PASSED}
        left = [one for one in items if parts[units[one.nodeid]] == self.part.number and one.nodeid not in passed]
        config.hook.pytest_deselected(items=[one for one in items if one not in left])
        items[:] = left

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the result of a test once it is over; a failure of any phase is the test's."""
        result = self._open.setdefault(
            report.nodeid, {"test": report.nodeid, "outcome": PASSED, "seconds": 0.0, "properties": {}}
        )
        result["seconds"] = round(result["seconds"] + report.duration, 1)
        result["properties"] = dict(report.user_properties)
        if report.outcome != PASSED and result["outcome"] != "failed":
            result["outcome"] = report.outcome
            result["said"] = report.longreprtext[-4000:]
        if report.when == "teardown":
            _write(result_file(self.folder, report.nodeid), self._open.pop(report.nodeid))


def plugin_of(environ: Mapping[str, str]) -> Parts | None:
    """Return the plugin that the environment asks for, or None."""
    folder = environ.get(RESULTS)
    return Parts(Path(folder), Part.parse(environ.get(PART) or "1/1")) if folder else None


def _unit(item: pytest.Item) -> str:
    return unit_of(item.nodeid, stands_alone=item.get_closest_marker("seeded") is not None)


def _seconds(unit: str) -> float:
    return SECONDS.get(unit.partition("::")[0], _USUAL_SECONDS)


def _write(path: Path, document: dict[str, Any]) -> None:
    aside = path.with_suffix(".partial")
    aside.write_text(json.dumps(document, indent=1, sort_keys=True))
    aside.replace(path)
