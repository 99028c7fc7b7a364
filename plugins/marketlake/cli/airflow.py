"""Airflow's own command line against this MARKETLAKE_HOME: `marketlake airflow backfill create --dag-id …`."""

from __future__ import annotations


def forward(rest: list[str]) -> int:
    """Run Airflow with these arguments."""
    from marketlake.cli.airflow_server import airflow_command
    from marketlake.settings import load_settings

    return airflow_command(load_settings(), rest)
