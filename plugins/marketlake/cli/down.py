"""Stop what marketlake started for this MARKETLAKE_HOME: Airflow, a sandbox exchange, the embedded database.

Nothing is lost: the next command starts what it needs again.

Examples:
  marketlake down
"""

from __future__ import annotations

import argparse

from marketlake.cli.output import Output
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none of its own."""


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Stop everything, the database last; print what was running."""
    from marketlake.cli.airflow_server import stop_airflow
    from marketlake.cli.processes import RunFile, stop_background
    from marketlake.embedded_postgres import stop

    settings = load_settings()
    stopped = ["Airflow"] if stop_airflow(settings) else []
    for path in sorted((settings.home / "run").glob("*.json")):
        file = RunFile(path)
        processes, _ = file.read()
        if stop_background(processes):
            stopped += [process.name for process in processes]
        file.forget()
    if stop(settings.home):
        stopped.append("database")
    out.document({"stopped": stopped})
    out.say(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0
