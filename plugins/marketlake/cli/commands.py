"""The commands: name → module and one line of help. A module is imported when its command is called."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from marketlake.cli.output import Output


class CommandModule(Protocol):
    """What a command's module provides."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""
        ...

    def execute(self, arguments: argparse.Namespace, out: Output) -> int:
        """Do it; return the exit code, 0 or 1."""
        ...


@dataclass(frozen=True)
class Command:
    """One command of `marketlake`; one that asks the exchange needs a sandbox that feeds the home to run."""

    name: str
    module: str
    help: str
    reads_its_own_arguments: bool = False
    asks_exchange: bool = False

    def load(self) -> CommandModule:
        """Import the module."""
        return cast("CommandModule", import_module(f"marketlake.cli.{self.module}"))

    def forward(self, rest: list[str]) -> int:
        """Hand the arguments to a command that reads them itself; return its exit code."""
        return int(import_module(f"marketlake.cli.{self.module}").forward(rest))


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "run", "run", "plan, fetch, load, audit and publish a window; --build goes on to gold", asks_exchange=True
        ),
        Command("plan", "plan", "show what a run would fetch; makes no data request", asks_exchange=True),
        Command(
            "step",
            "step",
            "one step of a run, as Airflow's tasks call it; `step build` builds silver and gold",
            asks_exchange=True,
        ),
        Command("coverage", "coverage", "what is there and what is missing, by market"),
        Command("gaps", "gaps", "each hole that was found, with cause and status"),
        Command("dlq", "dlq", "rejected rows and their reasons"),
        Command("sources", "sources", "where two sources differ: both values, and whose is current"),
        Command("watermark", "watermark", "how far each market is settled; reset opens ranges again"),
        Command("tables", "tables", "the lake's tables, their history, and restore to a version or instant"),
        Command("sql", "sql", "query the lake through DuckDB"),
        Command("ledger", "ledger", "what the ledger knows; rebuild it from the landing area; mirror it into the lake"),
        Command(
            "doctor",
            "doctor",
            "check this machine: packages, Java, storage, database, exchange, clock",
            asks_exchange=True,
        ),
        Command("sandbox", "sandbox", "an exchange on this machine, made up or of recorded files", True),
        Command("demo", "demo", "set a lake up, load three days through Airflow and show the result"),
        Command("up", "up", "start Airflow and the database and leave them running", asks_exchange=True),
        Command("airflow", "airflow", "Airflow's own command line, such as `airflow backfill create`", True),
        Command("down", "down", "stop what marketlake started: Airflow, sandbox, database"),
    )
}
