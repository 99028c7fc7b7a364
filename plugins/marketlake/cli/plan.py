"""Show what a run would fetch: source, tasks, candles and requests by market. Makes no data request.

Examples:
  marketlake plan --symbol BTC/USDT --start 2025-01-01 --end 2025-03-01
  marketlake plan --dataset ohlcv --timeframe 1d --start 2020-01-01 --end 2025-01-01 --json
"""

from __future__ import annotations

import argparse

from marketlake.cli.output import Output
from marketlake.cli.run_arguments import add_run_arguments, opening_of
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_run_arguments(parser)


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Print the plan."""
    opening = opening_of(arguments, dry_run=True)
    settings = load_settings()
    from marketlake.cli.summary_view import show_plan
    from marketlake.pipeline.run import run_pipeline

    plan = run_pipeline(settings, opening).plan
    out.document(plan)
    show_plan(out, plan)
    return 0
