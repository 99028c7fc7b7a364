"""Print how many tests ran, by the JUnit files that pytest wrote, and why any were skipped."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree


def count(files: Sequence[Path]) -> tuple[Counter[str], Counter[str]]:
    """Return the numbers of tests by outcome and of skipped tests by reason."""
    outcomes: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    reasons: Counter[str] = Counter()
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            skipped = case.find("skipped")
            if skipped is not None:
                outcomes["skipped"] += 1
                reasons[skipped.get("message", "")] += 1
            elif case.find("failure") is not None or case.find("error") is not None:
                outcomes["failed"] += 1
            else:
                outcomes["passed"] += 1
    return outcomes, reasons


def main(argv: Sequence[str]) -> int:
    outcomes, reasons = count([Path(name) for name in argv])
    print("tests: " + ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items()))
    for reason, number in sorted(reasons.items()):
        print(f"  {number} skipped: {reason}")
    return 0 if outcomes["passed"] and not outcomes["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
