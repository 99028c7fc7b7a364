"""What a failed command says: a few lines that name the thing and what to do, and a log file for the unexpected."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from marketlake.cli.output import Output
from marketlake.errors import MarketlakeError, SetupError, UnavailableError

_MOST_LINES = 40


def report(error: Exception, out: Output, *, is_debug: bool = False) -> int:
    """Print the error on standard error, and as the JSON document where one is wanted; return the exit code."""
    known = explained(error)
    text = str(known) if known is not None else _unexpected(error)
    code = known.exit_code if known is not None else 1
    if is_debug:
        traceback.print_exception(error)
    lines = text.splitlines() or [type(error).__name__]
    print("\n".join([f"error: {lines[0]}", *lines[1:_MOST_LINES]]), file=sys.stderr)
    retryable = known.is_retryable if known is not None else True
    out.document({"error": text, "is_retryable": retryable, "exit_code": code})
    return code


def explained(error: BaseException) -> MarketlakeError | None:
    """Return what a failure of the machine or the database means, or None where it is a defect of ours."""
    if isinstance(error, MarketlakeError):
        return error
    text = str(error).strip()
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        return SetupError(f"the disk is full ({text}); free space, then run the same command again: it goes on")
    if isinstance(error, PermissionError):
        return SetupError(f"no permission: {text}; check who owns MARKETLAKE_HOME and the lake's folder")
    if _is_lost_database(error):
        return UnavailableError(
            f"the database stopped answering ({text.splitlines()[0] if text else type(error).__name__});"
            " nothing is half-written that a repeat does not finish: run the same command again"
        )
    return None


def _is_lost_database(error: BaseException) -> bool:
    psycopg = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _unexpected(error: Exception) -> str:
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    path = _log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError as failure:
        return f"unexpected {said}; its traceback could not be written to {path}: {failure}"
    return f"unexpected {said}; the traceback is in {path}"


def _log_file() -> Path:
    home = Path(os.environ.get("MARKETLAKE_HOME") or "data").absolute()
    return home / "logs" / f"error_{datetime.now(UTC):%Y%m%dT%H%M%S}_{os.getpid()}.log"
