"""One step of a run, as Airflow's tasks call it. The first step, open_run, makes the run.

`step build` needs no run: it builds silver and gold from what is published and not built yet; with --full-refresh from
all that is published, which also applies changed models.

Examples:
  marketlake step open_run --run mine --dataset ohlcv --start 2025-01-01 --end 2025-01-02
  marketlake step plan_fetches --run mine --json
  marketlake step ingest --run mine --exchange binance --dataset ohlcv
  marketlake step build
  marketlake step build --full-refresh
"""

from __future__ import annotations

import argparse
from typing import Any

from marketlake.cli.output import Output
from marketlake.cli.parsing import CommandLineError
from marketlake.cli.run_arguments import add_run_arguments, opening_of
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("step", help="open_run, plan_fetches, ingest, load_bronze, …, check_run; or build")
    parser.add_argument("--run", help="the run's id: letters, digits and _ . : + -")
    parser.add_argument("--kind", default="cli", help="open_run: who asks, cli or a DAG's id")
    parser.add_argument("--parent", help="open_run: the run of which this one is a part")
    parser.add_argument("--with-open-holes", action="store_true",
                        help="open_run: also ask for older holes whose time has come")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="open_run: the run's plan fetches nothing")
    parser.add_argument("--full-refresh", action="store_true",
                        help="build: compute silver and gold anew, also with changed columns")  # fmt: skip
    add_run_arguments(parser)


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Do the step and print its result, the last line of standard output."""
    settings = load_settings()
    from dataclasses import replace

    from marketlake.ledger import connect
    from marketlake.pipeline.opening import open_run
    from marketlake.pipeline.steps import call_step_of, step_named

    name = arguments.step
    if name not in ("open_run", "build"):
        step_named(name)
    if arguments.full_refresh and name != "build":
        raise CommandLineError(f"--full-refresh goes with the step build; was {name}")
    if arguments.run is None and name != "build":
        raise CommandLineError(f"the step {name} needs --run; see `marketlake step --help`")
    with connect(settings) as connection:
        if name == "open_run":
            opening = replace(
                opening_of(arguments, dry_run=arguments.dry_run), run_id=arguments.run, kind=arguments.kind
            )
            run = open_run(settings, connection, opening)
            result: dict[str, Any] = {"run_id": run.run_id, "window": run.window, "now": run.now, "mode": run.mode}
        elif name == "build":
            from marketlake.pipeline.building import build

            result = build(settings, connection, run_id=arguments.run, is_full_refresh=arguments.full_refresh)
        else:
            where = {"exchange": _one(arguments.exchange, "exchange"), "dataset": _one(arguments.dataset, "dataset")}
            result = call_step_of(settings, connection, name, arguments.run, **where)
    out.document(result)
    for key, value in result.items():
        out.say(f"{key}: {value}")
    return 0


def _one(values: list[str], what: str) -> str | None:
    if len(values) > 1:
        raise CommandLineError(f"a step takes one --{what}; were {', '.join(values)}")
    return values[0] if values else None
