"""Report the long proofs of a commit from the results kept for each: a table as text, and the same as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]
_COUNTED = ("rows", "lost", "doubled", "invented", "runs", "requests")


def report_of(folder: Path, part: str) -> dict[str, Any]:
    """Return the report over a folder's results; `part` (`2/6`) is the one that was to be run.

    `failed` and `left` name this part's tests that did not pass; `is_complete` is about all parts.
    """
    number, of = part.split("/")
    listed = folder / f"tests-{of}.json"
    wanted: dict[str, int] = json.loads(listed.read_text())["tests"] if listed.is_file() else {}
    read = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    results: dict[str, Result] = {one["test"]: one for one in read if one.get("test") in wanted}
    passed = {test for test, one in results.items() if one["outcome"] == "passed"}
    mine = {test for test, its in wanted.items() if its == int(number)}
    return {
        "commit": folder.name,
        "part": part,
        "tests": len(wanted),
        "passed": len(passed),
        "seconds": round(sum(one["seconds"] for one in results.values())),
        "fault_mixes": _mixes(results, wanted),
        "kills": _kills(results),
        "failed": sorted(test for test in mine if test in results and test not in passed),
        "left": sorted(mine - {*results}),
        "is_complete": passed == {*wanted} and bool(wanted),
    }


def _mixes(results: Mapping[str, Result], wanted: Mapping[str, int]) -> dict[str, Any]:
    mixes = {test: one for test, one in results.items() if "invented" in one["properties"]}
    totals = {name: sum(int(one["properties"][name]) for one in mixes.values()) for name in _COUNTED}
    return {
        "seeds": len(mixes),
        "seeds_wanted": sum("test_fault_mixes.py" in test for test in wanted),
        "passed": sum(one["outcome"] == "passed" for one in mixes.values()),
        **totals,
    }


def _kills(results: Mapping[str, Result]) -> dict[str, dict[str, int]]:
    """Kills and how many of them left the same rows, by point; what ended before its kill is none."""
    kills, equal = Counter[str](), Counter[str]()
    for one in results.values():
        point = one["properties"].get("point")
        if point and one["properties"].get("was_running", True):
            kills[point] += 1
            equal[point] += one["outcome"] == "passed"
    return {point: {"kills": kills[point], "equal": equal[point]} for point in sorted(kills)}


def text_of(report: Mapping[str, Any]) -> str:
    """Return the report as a table."""
    mixes = report["fault_mixes"]
    lines = [
        f"acceptance of {report['commit']}: {report['passed']} of {report['tests']} tests passed,"
        f" {report['seconds']} s of work; this was part {report['part']}",
        "",
        f"{'fault mixes':<36}{mixes['seeds']:>10} of {mixes['seeds_wanted']} seeds, {mixes['passed']} passed",
        *(f"  {name:<34}{mixes[name]:>10,}" for name in _COUNTED),
        "",
        f"{'killed at':<36}{'kills':>10}{'equal':>10}",
        *(f"  {point:<34}{one['kills']:>10}{one['equal']:>10}" for point, one in report["kills"].items()),
    ]
    lines += [f"failed: {test}" for test in report["failed"]] + [f"not run: {test}" for test in report["left"]]
    return "\n".join([*lines, "", "all parts are done" if report["is_complete"] else "other parts are left to do"])


def main(argv: Sequence[str]) -> int:
    folder, part = Path(argv[0]), argv[1]
    report = report_of(folder, part)
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "report" / "report.txt").write_text(text_of(report) + "\n")
    print(text_of(report))
    print(f"kept in {folder / 'report'}")
    return 1 if report["failed"] or report["left"] or not report["tests"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
