"""The command line `marketlake`. `main` maps every ending to an exit code: 0 success, 1 failure, 2 wrong use."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from marketlake.cli.failures import report
from marketlake.cli.output import Output, log_to_stderr
from marketlake.cli.parsing import command_of, parse, top_help
from marketlake.settings import load_settings

_INTERRUPTED = 130
_PIPE_CLOSED = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; prints errors, never raises one."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(top_help())
        return 0 if argv else 2
    out, is_debug = Output(as_json="--json" in argv), "--debug" in argv
    try:
        command, rest = command_of(argv)
        if command.reads_its_own_arguments:
            return command.forward(rest)
        module, arguments = parse(command, rest)
        log_to_stderr("debug" if is_debug else load_settings().logging.level)
        signal.signal(signal.SIGTERM, _end)
        if command.asks_exchange:
            from marketlake.cli.feed import join_feed

            join_feed(os.environ)
        return int(module.execute(arguments, out))
    except SystemExit as end:  # argparse after --help
        return int(end.code or 0)
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on where this one stopped", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `… | head` does; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except Exception as error:
        return report(error, out, is_debug=is_debug)
    finally:
        logging.shutdown()


def _end(signum: int, frame: FrameType | None) -> None:
    # As an exception, so that what this process started is ended too.
    raise KeyboardInterrupt


__all__ = ["main"]
