"""Commands that change what is there: they say what they will do, and do it with --yes or a yes at the terminal."""

from __future__ import annotations

import argparse
import sys

from marketlake.cli.output import Output
from marketlake.errors import UsageError

_ENDS_RUNS = "take runs that are marked as running for killed, and mark them as failed"


def add_confirming_arguments(parser: argparse.ArgumentParser, *, ends_runs: bool = False) -> None:
    """Declare --dry-run and --yes, and where runs stand in the way --end-runs."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--yes", action="store_true", help="do it without asking")
    if ends_runs:
        parser.add_argument("--end-runs", action="store_true", help=_ENDS_RUNS)


def is_confirmed(arguments: argparse.Namespace, out: Output, question: str) -> bool:
    """Return whether to go on after what will be done was said; ask where somebody sits at a terminal.

    Raises:
        UsageError: nobody can be asked and --yes was not given.
    """
    if arguments.dry_run:
        out.say("Nothing was changed (--dry-run).")
        return False
    if arguments.yes:
        return True
    if out.as_json or not sys.stdin.isatty():
        raise UsageError(f"{question} Add --yes to do it, or --dry-run to see what it would do; nothing was changed")
    answer = input(f"{question} [y/N] ")
    if answer.strip().lower() in ("y", "yes"):
        return True
    out.say("Nothing was changed.")
    return False
