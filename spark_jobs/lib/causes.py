"""The part of an error that a person can act on; Spark wraps ours, and the system's, in pages of stack traces."""

from __future__ import annotations

import errno
import re

from marketlake.errors import MarketlakeError

_CAUSED_BY = "Caused by: "
_OURS = "marketlake.errors."
_TRACE = "Traceback (most recent call last)"
# `java.io.IOException: text`, `pyspark.errors.X: text`, `OSError: text`; not the frames between them.
_RAISED = re.compile(r"^(?:[\w$]+\.)*[\w$]*(?:Error|Exception)\b(?:: .*)?$")
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_LONGEST = 500


def cause_of(error: BaseException, *, where: str) -> str:
    """Return one line that says what went wrong; `where` is the folder that was written to.

    Of an error out of Spark that is what our own code raised in an executor, else the innermost cause.
    """
    if isinstance(error, MarketlakeError):
        return str(error)
    # What pyspark converted keeps Java's trace aside, or prints it already: the settings decide.
    text = f"{error}\n{getattr(error, '_stackTrace', '')}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if _is_disk_full(error, lines):
        return f"no space left on the disk of {where}: free some, then run the same command again, what landed is kept"
    ours = [line.partition(": ")[2] for line in lines if line.startswith(_OURS)]
    # Where a trace of Python follows, its own last line tells more.
    causes = [line.removeprefix(_CAUSED_BY) for line in lines if line.startswith(_CAUSED_BY) and _TRACE not in line]
    raised = [line for line in lines if _RAISED.match(line.removeprefix(": "))]
    found = ours[:1] or causes[-1:] or raised[-1:] or lines[:1]
    name = type(error).__name__
    told = found[0].removeprefix(": ") if found else name
    return (told if ours or _RAISED.match(told) else f"{name}: {told}")[:_LONGEST]


def _is_disk_full(error: BaseException, lines: list[str]) -> bool:
    is_ours = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return is_ours or any(words in line for words in _NO_SPACE for line in lines)
