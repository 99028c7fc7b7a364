"""Bulk archives → the landing area: streamed, resumed where a download stopped, verified before anything opens them."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from marketlake.errors import DataError
from marketlake.exchanges.answers import Action, Verdict, judge
from marketlake.exchanges.failures import UnreadableBodyError
from marketlake.exchanges.http import Attempt, Requester
from marketlake.exchanges.zip_member import ZipMember, csv_member
from marketlake.instants import format_instant
from marketlake.landing import LandingArea, StoredFile
from marketlake.landing.area import file_digest, storage_errors
from marketlake.landing.locks import file_lock

ARCHIVE_SCOPE = "archive"
_CHECKSUM = re.compile(r"([0-9a-f]{64})\s+\*?(\S+)\s*")
_ZIP_START = b"PK"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArchiveOutcome:
    """What came of one archive; `status` as in `ops.archive_files`, `unchanged` for a re-issue that is none.

    `stored` is the landed file of a `verified` or `unverified` archive; digests are 64 hex digits.
    """

    status: str
    stored: StoredFile | None = None
    published_sha256: str | None = None
    computed_sha256: str | None = None
    error: str | None = None


class ArchiveDownloader:
    """Downloads the archives of one exchange and dataset; threads may share it."""

    def __init__(
        self, area: LandingArea, requester: Requester, *, archive_url: str, exchange: str, dataset: str, run_id: str
    ) -> None:
        self._area = area
        self._requester = requester
        self._base = archive_url.rstrip("/")
        self._exchange = exchange
        self._dataset = dataset
        self._run_id = run_id
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def landed_by_run(self, path: str) -> StoredFile | None:
        """Return the archive that an earlier attempt of this run landed, if any."""
        held = [stored for stored in self._landed(path) if stored.meta.get("run_id") == self._run_id]
        return held[-1] if held and self._is_whole(held[-1]) else None

    def is_reissued(self, path: str, loaded_sha256: str | None) -> bool:
        """Ask the published checksum only, and return whether it differs from the loaded file's.

        Raises: as `download`.
        """
        published = self._published(path)
        return published is not None and published != loaded_sha256

    def download(self, path: str) -> ArchiveOutcome:
        """Land the archive, or say why not: `absent`, `checksum_mismatch`, or `downloaded` with the zip's damage.

        A file that is landed already is not downloaded again while its published checksum is the same. One that is
        wrong is moved aside and downloaded once more. Another process that downloads the same file is waited for.

        Raises:
            UnavailableError, UnreadableBodyError: the archive's server gave no usable answer.
            OtherMarketError: it is another market's.
            SetupError: no space is left.
        """
        landing_path = self._area.archive_path(self._exchange, self._dataset, path)
        with self._locks[path], file_lock(self._area.partial(landing_path), pause=self._requester.pause):
            return self._landed_and_confirmed(path) or self._download(path)

    def _landed_and_confirmed(self, path: str) -> ArchiveOutcome | None:
        held = self._landed(path)
        published = self._published(path) if held else None
        for stored in held:
            if published is not None and stored.sha256 == published and self._is_whole(stored):
                meta = {"received_at": format_instant(self._requester.clock.now()), "run_id": self._run_id}
                return ArchiveOutcome("verified", self._area.restamp(stored, meta), published, stored.sha256)
        return None

    def _download(self, path: str) -> ArchiveOutcome:
        outcome = self._download_once(path)
        if outcome.error is not None:
            _LOG.warning("%s: %s; downloading it once more", path, outcome.error)
            outcome = self._download_once(path)
        if outcome.status == "unverified":
            _LOG.warning("%s has no checksum file; it is loaded as unverified", path)
        return outcome

    def _download_once(self, path: str) -> ArchiveOutcome:
        landing_path = self._area.archive_path(self._exchange, self._dataset, path)
        partial = self._area.partial(landing_path)
        url = f"{self._base}/{path}"
        if not self._requester.perform(url, lambda: self._stream(url, partial), scope=ARCHIVE_SCOPE).is_there:
            return ArchiveOutcome("absent")
        published = self._published(path)
        computed = file_digest(partial)
        wrong = _what_is_wrong(partial, computed, published)
        received_at = format_instant(self._requester.clock.now())
        meta = {"url": url, "received_at": received_at, "published_sha256": published, "run_id": self._run_id}
        if wrong is not None:
            status, error = wrong
            aside = self._area.aside_path(self._exchange, self._dataset, path, digest=computed)
            self._area.move_aside(partial, aside, {**meta, "sha256": computed, "status": status, "error": error})
            return ArchiveOutcome(status, None, published, computed, f"{error}; the file is kept as {aside}")
        _validator_path(partial).unlink(missing_ok=True)
        status = "unverified" if published is None else "verified"
        stored = self._commit(path, landing_path, {**meta, "status": status}, computed)
        return ArchiveOutcome(status, stored, published, computed)

    def _commit(self, path: str, landing_path: str, meta: dict[str, Any], computed: str) -> StoredFile:
        partial = self._area.partial(landing_path)
        first = self._area.stored(landing_path)
        size = partial.stat().st_size
        if first is None or first.sha256 == computed:
            return self._area.commit(landing_path, meta, digest=computed, size=size)
        # Sealed manifests name the old bytes: a re-issue gets a name of its own.
        reissue_path = self._area.archive_path(self._exchange, self._dataset, path, digest=computed)
        with storage_errors(partial):
            partial.replace(self._area.partial(reissue_path))
        return self._area.commit(reissue_path, meta, digest=computed, size=size)

    def _landed(self, path: str) -> list[StoredFile]:
        """Return the landed versions of an archive, oldest first."""
        first = self._area.archive_path(self._exchange, self._dataset, path)
        folder, name = self._area.absolute(first).parent, PurePosixPath(path)
        names = sorted(folder.glob(f"{name.stem}.????????{name.suffix}")) if folder.is_dir() else []
        paths = [first, *(str(PurePosixPath(first).parent / found.name) for found in names)]
        stored = [held for held in map(self._area.stored, paths) if held is not None]
        return sorted(stored, key=lambda held: str(held.meta.get("received_at")))

    def _is_whole(self, stored: StoredFile) -> bool:
        return file_digest(self._area.absolute(stored.path)) == stored.sha256

    def _published(self, path: str) -> str | None:
        url, name = f"{self._base}/{path}.CHECKSUM", PurePosixPath(path).name
        found = self._requester.perform(url, lambda: self._checksum(url, name), scope=ARCHIVE_SCOPE)
        return found.digest

    def _checksum(self, url: str, name: str) -> Attempt[_Checksum]:
        answer = self._requester.http.get(url)
        now = self._requester.clock.now()
        verdict = judge(answer.status_code, answer.headers, answer.text, now=now, is_file=True)
        if verdict.action not in (Action.ACCEPT, Action.ABSENT):
            return Attempt(verdict)
        self._requester.check_market(url, answer.headers)
        if verdict.action is Action.ABSENT:
            return Attempt(verdict, _Checksum(None))
        match = _CHECKSUM.fullmatch(answer.text)
        if match is None or match[2] != name:
            why = f"expected '<sha256>  {name}', was {answer.text[:120]!r}"
            unreadable = UnreadableBodyError(f"{url} is unreadable: {why}", url=url, body=answer.text, received_at=now)
            return Attempt(Verdict(Action.RETRY, timedelta(0), why), unreadable=unreadable)
        return Attempt(verdict, _Checksum(match[1]))

    def _stream(self, url: str, partial: Path) -> Attempt[_Download]:
        headers = {"accept-encoding": "identity", **_range_headers(partial)}
        with self._requester.http.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416:
                _forget(partial)
                return Attempt(Verdict(Action.RETRY, timedelta(0), "the partial file is longer than the archive"))
            if answer.status_code not in (200, 206):
                body = answer.read().decode("utf-8", "replace")
                now = self._requester.clock.now()
                verdict = judge(answer.status_code, answer.headers, body, now=now, is_file=True)
                if verdict.action is not Action.ABSENT:
                    return Attempt(verdict)
                self._requester.check_market(url, answer.headers)
                return Attempt(verdict, _Download(False))
            self._requester.check_market(url, answer.headers)
            _write_stream(answer, partial)
        with partial.open("rb") as stream:
            start = stream.read(2048)
        if not start.startswith(_ZIP_START):
            _forget(partial)
            body, now = start.decode("utf-8", "replace"), self._requester.clock.now()
            unreadable = UnreadableBodyError(f"{url} is no zip: {body[:120]!r}", url=url, body=body, received_at=now)
            return Attempt(Verdict(Action.RETRY, timedelta(0), str(unreadable)), unreadable=unreadable)
        return Attempt(Verdict(Action.ACCEPT, timedelta(0), ""), _Download(True))


@dataclass(frozen=True)
class _Checksum:
    digest: str | None


@dataclass(frozen=True)
class _Download:
    is_there: bool


def _what_is_wrong(partial: Path, computed: str, published: str | None) -> tuple[str, str] | None:
    if published is not None and computed != published:
        return "checksum_mismatch", f"sha256 is {computed}, the exchange publishes {published}"
    try:
        if published is not None:
            csv_member(partial)
            return None
        with ZipMember(partial) as member:
            member.drain()
    except DataError as error:
        return "downloaded", str(error).replace(str(partial), partial.name)
    return None


def _write_stream(answer: httpx.Response, partial: Path) -> None:
    is_rest_of_file = answer.status_code == 206
    validator = answer.headers.get("etag") or answer.headers.get("last-modified")
    with storage_errors(partial):
        if not is_rest_of_file:
            _forget(partial)
            if validator:
                _validator_path(partial).write_text(json.dumps({"validator": validator}), encoding="utf-8")
        with partial.open("ab") as stream:
            for chunk in answer.iter_raw():
                stream.write(chunk)


def _range_headers(partial: Path) -> dict[str, str]:
    """Ask for the rest of a partial file only if the server still has the same one (If-Range)."""
    with suppress(OSError, ValueError, KeyError):
        size = partial.stat().st_size
        validator = json.loads(_validator_path(partial).read_text(encoding="utf-8"))["validator"]
        if size:
            return {"range": f"bytes={size}-", "if-range": validator}
    _forget(partial)
    return {}


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _validator_path(partial).unlink(missing_ok=True)


def _validator_path(partial: Path) -> Path:
    return partial.with_name(partial.name + ".validator")
