"""What one fetch came to, counted from the manifests that it sealed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marketlake.fetch.answers import FAILED
from marketlake.landing import readable_manifests
from marketlake.ledger.runs import Run
from marketlake.work import Answer


@dataclass(frozen=True)
class FetchSummary:
    """What one fetch came to: counts of tasks, of landed files and their bytes, and the failed answers' errors."""

    run_id: str
    exchange: str
    dataset: str
    tasks: int
    answered: int
    absent: int
    failed: int
    files: int
    bytes: int
    manifests: tuple[str, ...]
    errors: tuple[str, ...]
    seconds: float

    @property
    def is_complete(self) -> bool:
        """Whether every source that was asked gave an answer."""
        return self.failed == 0


def summary_of(
    run: Run, exchange: str, dataset: str, task_count: int, sealed: Sequence[Path], seconds: float
) -> FetchSummary:
    """Return what the run's sealed manifests hold: of each task its newest answers."""
    newest: dict[str, list[Answer]] = {}
    for manifest, _ in readable_manifests(sealed):
        found: dict[str, list[Answer]] = {}
        for answer in manifest.answers:
            found.setdefault(answer.task_id, []).append(answer)
        newest.update(found)
    answers = [answer for several in newest.values() for answer in several]
    files = {file.path: file for answer in answers for file in answer.files}
    return FetchSummary(
        run_id=run.run_id,
        exchange=exchange,
        dataset=dataset,
        tasks=task_count,
        answered=sum(any(a.status == "answered" for a in several) for several in newest.values()),
        absent=sum(any(a.status == "absent" for a in several) for several in newest.values()),
        failed=sum(any(a.status == FAILED for a in several) for several in newest.values()),
        files=len(files),
        bytes=sum(file.bytes for file in files.values()),
        manifests=tuple(str(path) for path in sealed),
        errors=tuple(dict.fromkeys(answer.error for answer in answers if answer.error)),
        seconds=round(seconds, 3),
    )
