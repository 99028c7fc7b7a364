"""REST segments: the responses to one task, one JSON object a line, appended as they came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from marketlake.errors import DataError
from marketlake.landing.area import LandingArea, StoredFile, storage_errors


class Segment:
    """The file of one task while it grows; `finish` makes it a landed file, leaving it otherwise leaves none."""

    def __init__(self, area: LandingArea, path: str) -> None:
        self.path = path
        self._area = area
        self._partial = area.partial(path)
        self._digest = hashlib.sha256()
        self._bytes = 0
        with storage_errors(self._partial):
            self._stream = self._partial.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._stream.close()
        except OSError:
            if error is None:
                raise

    def append(self, response: dict[str, Any]) -> None:
        """Add one response; after this call a killed process leaves it readable."""
        line = json.dumps(response, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with storage_errors(self._partial):
            self._stream.write(line)
            self._stream.flush()
        self._digest.update(line)
        self._bytes += len(line)

    def finish(self, meta: dict[str, Any]) -> StoredFile:
        """Close the segment and make it a landed file."""
        self._stream.close()
        return self._area.commit(self.path, meta, digest=self._digest.hexdigest(), size=self._bytes)


def segment_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the responses of a segment in order; a last line that a crash cut short is left out.

    Raises:
        DataError: another line is not a JSON object.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                response = json.loads(line)
            except ValueError:
                if not line.endswith(b"\n"):
                    return
                raise DataError(f"line {number} of {path} is damaged: it is not JSON; fetch that run again") from None
            yield response
