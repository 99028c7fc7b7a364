"""How landed files become the answers of a manifest."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from marketlake.instants import Window, format_instant, parse_instant
from marketlake.landing import StoredFile
from marketlake.landing.rebuilt import REBUILT_FORMAT
from marketlake.work import Answer, FetchTask, LandedFile

ANSWERED, ABSENT, FAILED = "answered", "absent", "failed"


def archive_answer(task: FetchTask, stored: StoredFile) -> Answer:
    """Return the answer of a verified or unverified archive."""
    received_at = parse_instant(stored.meta["received_at"])
    file = LandedFile(
        path=stored.path,
        sha256=stored.sha256,
        bytes=stored.bytes,
        url=stored.meta["url"],
        source_ref=task.archive_path or stored.path,
        received_at=received_at,
        format="archive_zip",
        checksum_status=stored.meta["status"],
    )
    return _answer(task, ANSWERED, received_at, files=(file,))


def rest_answer(task: FetchTask, stored: StoredFile) -> Answer:
    """Return the answer of a segment; its meta says which part of the task's window was answered."""
    return _segment_answer(task, stored, "rest_jsonl")


def rebuilt_answer(task: FetchTask, stored: StoredFile) -> Answer:
    """Return the answer of candles that were made from trades."""
    return _segment_answer(task, stored, REBUILT_FORMAT)


def _segment_answer(task: FetchTask, stored: StoredFile, form: str) -> Answer:
    meta = stored.meta
    received_at = parse_instant(meta["received_at"])
    window = Window(parse_instant(meta["window"]["start"]), parse_instant(meta["window"]["end"]))
    file = LandedFile(
        path=stored.path,
        sha256=stored.sha256,
        bytes=stored.bytes,
        url=meta["url"],
        source_ref=meta["source_ref"],
        received_at=received_at,
        format=form,
    )
    return _answer(task, ANSWERED, received_at, files=(file,), window=window)


def absent_answer(task: FetchTask, at: datetime, error: str | None = None) -> Answer:
    """Return the answer of an archive that does not exist (yet), or with an error that of one that is held."""
    return _answer(task, ABSENT, at, error=error)


def failed_answer(
    task: FetchTask,
    at: datetime,
    error: str,
    *,
    window: Window | None = None,
    files: tuple[LandedFile, ...] = (),
) -> Answer:
    """Return the answer for a window that its source did not answer, and why."""
    return _answer(task, FAILED, at, error=error, window=window, files=files)


def window_meta(window: Window) -> dict[str, Any]:
    """Return the window as it stands in a segment's meta."""
    return {"start": format_instant(window.start), "end": format_instant(window.end)}


def _answer(
    task: FetchTask,
    status: str,
    received_at: datetime,
    *,
    files: tuple[LandedFile, ...] = (),
    error: str | None = None,
    window: Window | None = None,
) -> Answer:
    return Answer(
        task_id=task.task_id,
        market=task.market,
        timeframe=task.timeframe,
        source=task.source,
        window=window or task.window,
        status=status,
        received_at=received_at,
        files=files,
        error=error,
        reason=task.reason,
    )
