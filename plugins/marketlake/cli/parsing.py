"""Reading a command line: one parser per command, errors in one line, exit code 2."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import NoReturn

from marketlake.cli.commands import COMMANDS, Command, CommandModule
from marketlake.errors import UsageError


class CommandLineError(UsageError):
    """The command line cannot be read."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandLineError(f"{message}; see `{self.prog} --help`")


def command_of(argv: Sequence[str]) -> tuple[Command, list[str]]:
    """Return the command that the arguments name and what follows it.

    Raises:
        CommandLineError: no such command; the text names the nearest, or all.
    """
    name, *rest = argv
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(COMMANDS)}"
        raise CommandLineError(f"unknown command {name!r}; {hint}")
    return COMMANDS[name], rest


def parse(command: Command, rest: Sequence[str]) -> tuple[CommandModule, argparse.Namespace]:
    """Return the command's module and its arguments.

    Raises:
        CommandLineError: an argument is unknown, missing or malformed.
    """
    module = command.load()
    parser = _Parser(
        prog=f"marketlake {command.name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    add_common_arguments(parser)
    return module, parser.parse_args(list(rest))


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every command takes."""
    common = parser.add_argument_group("common")
    common.add_argument("--json", action="store_true", help="print one JSON document; logs go to standard error")
    common.add_argument("--debug", action="store_true", help="log more, and show tracebacks")


def top_help() -> str:
    """Return the text of `marketlake --help`."""
    lines = [
        "usage: marketlake <command> [arguments]    (marketlake <command> --help tells more)",
        "",
        *(f"  {command.name:<10} {command.help}" for command in COMMANDS.values()),
        "",
        "Examples:",
        "  marketlake run --symbol BTC/USDT --timeframe 1h --start 2025-01-01 --end 2025-02-01 --build",
        "  marketlake coverage --symbol BTC/USDT",
        '  marketlake sql "select * from raw_market_data_1h order by open_time desc limit 5"',
        "",
        "State lies in MARKETLAKE_HOME (default ./data); settings in config/local.yaml, CONFIG_FILE, or variables",
        "like MARKETLAKE__EXCHANGES__BINANCE__REST_URL. Exit codes: 0 success, 1 failure, 2 wrong use.",
    ]
    return "\n".join(lines)
