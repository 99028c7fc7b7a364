"""Where landed files lie, and how a file gets there whole or not at all: written aside, synced, renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from marketlake.errors import DataError, SetupError, UnavailableError, UsageError

PARTIAL = ".partial"
META = ".meta.json"
_NAME = re.compile(r"[A-Za-z0-9_.:+@-]{1,200}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class StoredFile:
    """A landed file and its `.meta.json`: `path` below the landing folder, sha256 as 64 hex digits, size in bytes."""

    path: str
    sha256: str
    bytes: int
    meta: dict[str, Any]


@dataclass(frozen=True)
class LandingArea:
    """The folder `<root>/landing`; everything else speaks in paths relative to it."""

    root: str | Path

    @property
    def folder(self) -> Path:
        """The landing folder.

        Raises:
            SetupError: the root is not a folder of this machine.
        """
        if "://" in str(self.root):
            raise SetupError(f"the landing area must be a local folder; delta_lake.storage_path is {self.root!r}")
        return Path(self.root) / "landing"

    def absolute(self, path: str) -> Path:
        """Return where a relative path lies.

        Raises:
            DataError: the path leads out of the landing folder.
        """
        parts = PurePosixPath(path).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise DataError(f"{path!r} is not a path below the landing folder {self.folder}")
        return self.folder.joinpath(*parts)

    def archive_path(self, exchange: str, dataset: str, archive_path: str, *, digest: str | None = None) -> str:
        """Return the path of an archive; with a digest that of a re-issue: its first 8 digits before the suffix."""
        pure = PurePosixPath(archive_path)
        name = pure.name if digest is None else f"{pure.stem}.{digest[:8]}{pure.suffix}"
        return f"{checked_name(exchange)}/{checked_name(dataset)}/archives/{pure.parent}/{name}"

    def aside_path(self, exchange: str, dataset: str, archive_path: str, *, digest: str) -> str:
        """Return the path to which an archive with a wrong checksum is moved."""
        return f"{checked_name(exchange)}/{checked_name(dataset)}/aside/{archive_path}.{digest[:8]}"

    def segment_path(self, exchange: str, dataset: str, *, run_id: str, task_id: str, attempt: int = 1) -> str:
        """Return the path of the REST responses of one task of one run.

        A later attempt has its number in the name, as its manifest has: sealed manifests name the earlier file.
        """
        names = (checked_name(name) for name in (exchange, dataset, "rest", run_id, task_id))
        return "/".join(names) + ("" if attempt == 1 else f"~{attempt}") + ".jsonl"

    def stored(self, path: str) -> StoredFile | None:
        """Return the landed file if it is whole: file and meta are there and their sizes agree; else None."""
        target = self.absolute(path)
        try:
            meta = json.loads(meta_path(target).read_text(encoding="utf-8"))
            size = target.stat().st_size
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        if meta.get("bytes") != size:
            return None
        return StoredFile(path, meta["sha256"], size, meta)

    def partial(self, path: str) -> Path:
        """Return where the file is written until it is whole; its folder exists after this call."""
        target = self.absolute(path)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(target.name + PARTIAL)

    def commit(self, path: str, meta: dict[str, Any], *, digest: str, size: int) -> StoredFile:
        """Move the partial file to its place and put its meta beside it; a crash in between leaves no landed file."""
        target, partial = self.absolute(path), self.partial(path)
        with storage_errors(target):
            sync_file(partial)
            os.replace(partial, target)
            meta = {**meta, "sha256": digest, "bytes": size}
            write_whole(meta_path(target), json.dumps(meta, indent=1, sort_keys=True).encode())
        return StoredFile(path, digest, size, meta)

    def restamp(self, stored: StoredFile, changes: dict[str, Any]) -> StoredFile:
        """Change the meta of a landed file, such as when its bytes were last confirmed."""
        meta = {**stored.meta, **changes}
        write_whole(meta_path(self.absolute(stored.path)), json.dumps(meta, indent=1, sort_keys=True).encode())
        return StoredFile(stored.path, stored.sha256, stored.bytes, meta)

    def move_aside(self, partial: Path, path: str, meta: dict[str, Any]) -> None:
        """Keep a refused download for people to look at; nothing reads it."""
        target = self.absolute(path)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial, target)
            write_whole(meta_path(target), json.dumps(meta, indent=1, sort_keys=True).encode())


def checked_name(name: str) -> str:
    """Return the name if it can be a part of a path.

    Raises:
        UsageError: it holds other characters than letters, digits and `_.:+@-`, or consists of dots.
    """
    if not _NAME.fullmatch(name) or not name.strip("."):
        raise UsageError(f"a name of 1 to 200 letters, digits and _.:+@- is expected; was {name!r}")
    return name


def meta_path(target: Path) -> Path:
    """Return the path of a file's `.meta.json`."""
    return target.with_name(target.name + META)


def write_whole(target: Path, data: bytes) -> None:
    """Write the file aside, sync it, rename it into place."""
    partial = target.with_name(target.name + PARTIAL)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        sync_file(partial)
        os.replace(partial, target)


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """Return the file's sha256, 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the storage's refusals into one clear error that names the place.

    Raises:
        SetupError: no space is left.
        UnavailableError: the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise SetupError(
                f"no space left for {path}: {error.strerror}. Free space, then run the same command again; "
                f"nothing half-written is used"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR):
            raise UnavailableError(f"cannot write {path}: {error.strerror}") from None
        raise
