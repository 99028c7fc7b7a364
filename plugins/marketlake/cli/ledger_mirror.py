"""Mirror the ledger into the lake, so that coverage, gaps and loads can be read there without Postgres.

Examples:
  marketlake ledger mirror
"""

from __future__ import annotations

import argparse

from marketlake.cli.output import Output
from marketlake.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("mirror",), help="mirror: write control.* where its content changed")


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Write the mirror and print the tables that were written anew."""
    from marketlake.ledger import connect
    from marketlake.ledger.mirror import mirror

    settings = load_settings()
    with connect(settings) as connection:
        written = mirror(connection, settings.lake_root)
    out.document({"written": written})
    out.table("Mirrored", ["table", "rows"], written.items())
    return 0
