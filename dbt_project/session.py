"""Do one dbt command after another in one process, which is imported and parsed once; in dbt's own environment.

The arguments are those that every command has. A line on standard input is a command as JSON: its `arguments`, whether
it is to be parsed for itself (`parses_anew`), and the file for its `results`. What dbt says goes to standard output;
the line that ends it begins with a record separator and holds dbt's exit code. One such line says that the process is
ready.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from dbt.artifacts.schemas.run import RunExecutionResult
from dbt.cli.exceptions import DbtUsageException
from dbt.cli.main import dbtRunner, dbtRunnerResult

END = "\x1e"
_FAILED, _BROKEN = 1, 2


def main(shared: list[str]) -> None:
    # Without variables, because dbt parses anew when one of them changes, and no model's shape depends on them.
    manifest = dbtRunner().invoke(["--quiet", "parse", *shared]).result
    _end(0)
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        runner = dbtRunner() if command["parses_anew"] else dbtRunner(manifest=manifest)
        done = runner.invoke([*command["arguments"], *shared])
        if isinstance(done.result, RunExecutionResult):
            done.result.write(command["results"])
        _end(_exit_code(done))


def _exit_code(done: dbtRunnerResult) -> int:
    """Return what `dbt` itself would have ended with."""
    if done.success:
        return 0
    if done.exception is None:
        return _FAILED
    if isinstance(done.exception, DbtUsageException):  # raised before dbt has a log to say it in
        print(done.exception)
    return _BROKEN


def _end(code: int) -> None:
    print(f"{END}{code}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
    # All is written and no thread works: the interpreter's own clearing up would only take time.
    sys.stdout.flush()
    os._exit(0)
