"""Start Airflow and the database for this MARKETLAKE_HOME and leave them running; `marketlake down` stops them.

Examples:
  marketlake up
  AIRFLOW__API__PORT=8090 marketlake up
"""

from __future__ import annotations

import argparse

from marketlake.cli.output import Output
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: none of its own."""


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Start what does not run yet; print the address."""
    from marketlake.cli.airflow_server import start_airflow

    server = start_airflow(load_settings(), say=out.say)
    out.document({"url": server.url, "username": "admin", "password": server.password})
    out.say(f"Airflow: {server.url}  (user admin, password {server.password})")
    return 0
