"""Plan, fetch, load, audit and publish a window, by the same steps as the DAGs.

Ranges that are settled are not asked for again; open holes are, at once. A killed or failed run is finished by running
it again.

Examples:
  marketlake run --symbol BTC/USDT --timeframe 1m --start 2025-01-01 --end 2025-02-01
  marketlake run --dataset funding_rates --symbol BTC/USDT:USDT --start 2025-01-01 --end 2025-02-01 --build
  marketlake run --symbol ETH/USDT --timeframe 1h --start 2025-01-01 --end 2025-01-08 --dry-run
"""

from __future__ import annotations

import argparse
import sys

from marketlake.cli.output import Output
from marketlake.cli.run_arguments import add_run_arguments, opening_of
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_run_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the plan and fetch nothing")
    parser.add_argument("--build", action="store_true", help="go on through dbt, its tests and the merge into gold")


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Run, and print the summary; 1 where something did not come about."""
    opening = opening_of(arguments, dry_run=arguments.dry_run)
    settings = load_settings()
    from marketlake.cli.summary_view import show_plan, show_summary
    from marketlake.pipeline.run import run_pipeline

    outcome = run_pipeline(settings, opening, build=arguments.build)
    out.document(outcome.plan if arguments.dry_run else outcome.to_json())
    if arguments.dry_run:
        show_plan(out, outcome.plan)
        return 0
    if not out.as_json:
        show_summary(out, outcome.to_json())
    for warning in outcome.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for problem in outcome.problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if outcome.problems else 0
