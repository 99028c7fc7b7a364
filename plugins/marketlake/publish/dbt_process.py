"""One call of dbt: its command line, and what its results say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketlake.errors import DataError, MarketlakeError, QualityError, UnavailableError
from marketlake.publish.dbt_session import DbtSession, dbt_folder
from marketlake.settings import Settings

_FAILED = ("error", "fail", "runtime error")
# What Postgres says of a failure that may be gone the next time; all else that it refuses, it refuses again.
_MAY_HEAL = (
    *("connection to server", "could not connect", "connection refused", "connection timed out", "could not translate"),
    *("server closed the connection", "connection already closed", "connection has been closed", "connection reset"),
    *("terminating connection", "the database system is", "too many clients", "remaining connection slots"),
    *("deadlock detected", "could not serialize access", "lock timeout", "could not extend file", "out of memory"),
)


@dataclass(frozen=True)
class DbtResult:
    """How the nodes of one call ended: name → status, and name → wall seconds."""

    statuses: Mapping[str, str]
    seconds: Mapping[str, float]


def run_dbt(
    settings: Settings,
    command: Sequence[str],
    *,
    variables: Mapping[str, Any] | None = None,
    folder: str = "target",
    session: DbtSession | None = None,
) -> DbtResult:
    """Run `dbt <command>` over the project and return how its nodes ended; its artifacts go to `folder` of dbt's own.

    It is done in the session, or in a process of its own. With `--no-partial-parse` the project is parsed for this
    command alone, with its flags.

    Raises:
        SetupError: dbt's environment is missing.
        QualityError: a data test failed.
        DataError: a model or a test does not compile, breaks its contract, or is refused by the database.
        UnavailableError: the database went away, or took another side in a deadlock; a repeat may succeed.
        MarketlakeError: dbt was stopped from outside. Each text names the nodes with the first lines of their messages.
    """
    if session is None:
        with DbtSession(settings) as own:
            return run_dbt(settings, command, variables=variables, folder=folder, session=own)
    target = dbt_folder(settings) / folder
    target.mkdir(parents=True, exist_ok=True)
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    arguments = ["--no-use-colors", *command, "--target-path", str(target)]
    if command[0] != "docs":  # whose page is made of them; of the others only the results are read
        arguments.append("--no-write-json")
    if variables:
        arguments += ["--vars", json.dumps(variables)]
    code, said = session.call(arguments, results=results, parses_anew="--no-partial-parse" in command)
    tree = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {"results": []}
    failed = [item for item in tree["results"] if item["status"] in _FAILED]
    if code or failed:
        raise error_class(code, failed, said)(_complaint(command[0], failed, said, settings))
    nodes = {item["unique_id"].split(".", 2)[-1]: item for item in tree["results"]}
    return DbtResult(
        {name: str(item["status"]) for name, item in nodes.items()},
        {name: float(item["execution_time"]) for name, item in nodes.items()},
    )


def error_class(code: int, failed: Sequence[Mapping[str, Any]], said: Sequence[str]) -> type[MarketlakeError]:
    """Return the error that says whether a repeat can help."""
    if any(item["status"] == "fail" for item in failed):
        return QualityError
    if code < 0:  # by a signal
        return MarketlakeError
    text = "\n".join([str(item["message"]) for item in failed] or said).lower()
    return UnavailableError if any(part in text for part in _MAY_HEAL) else DataError


def _complaint(command: str, failed: Sequence[Mapping[str, Any]], said: Sequence[str], settings: Settings) -> str:
    lines = [f"dbt {command} failed; its log is {settings.logs_folder / 'dbt' / 'dbt.log'}"]
    for item in failed[:5]:
        message = " ".join(str(item["message"] or "").split())[:300]
        lines.append(f"- {item['unique_id'].split('.', 2)[-1]}: {message}")
    if not failed:
        lines += [text for text in said if text.strip()][-8:]
    return "\n".join(lines)
