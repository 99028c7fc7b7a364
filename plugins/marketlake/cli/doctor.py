"""Check this machine: packages, Java, a Delta write and read, storage, database, exchange, clock; says what to do.

Examples:
  marketlake doctor
  marketlake doctor --quick --json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from marketlake.cli import doctor_checks
from marketlake.cli.output import Output
from marketlake.errors import MarketlakeError
from marketlake.settings import Settings, load_settings


@dataclass(frozen=True)
class CheckResult:
    """What one check found: status `ok`, `warning` or `failed`, and what to do about it."""

    name: str
    status: str
    found: str
    advice: str
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--quick", action="store_true", help="leave out the Delta write, which starts Spark (10-20 s)")


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Run the checks one after the other and print what they found; 1 when one failed."""
    settings = load_settings()
    results = []
    for name, check in doctor_checks.checks_of(settings, with_spark=not arguments.quick):
        out.say(f"checking {name} …")
        results.append(run_check(name, check, settings))
    failed = [result for result in results if result.status == "failed"]
    out.document({"ok": not failed, "checks": [asdict(result) for result in results]})
    out.table("", ["check", "status", "found"], ([result.name, result.status, result.found] for result in results))
    for result in results:
        if result.advice:
            out.say(f"{result.name}: {result.advice}")
    out.say(f"{len(failed)} of {len(results)} checks failed" if failed else "all checks passed")
    return 1 if failed else 0


def run_check(name: str, check: Callable[[Settings], doctor_checks.Finding], settings: Settings) -> CheckResult:
    """Return the check's result; an error of ours is a failed check whose text says what to do."""
    started = time.monotonic()
    try:
        finding = check(settings)
    except MarketlakeError as error:
        finding = doctor_checks.Finding(found="see below", advice=str(error), status="failed")
    return CheckResult(name, finding.status, finding.found, finding.advice, round(time.monotonic() - started, 3))
