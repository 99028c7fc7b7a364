"""Manifests on disk: sealed by rename, found again without a database, checked against the files they name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from marketlake.errors import DataError
from marketlake.landing.area import LandingArea, checked_name, file_digest, write_whole
from marketlake.work import Manifest, manifest_from_json, to_json

_LOG = logging.getLogger(__name__)


def manifest_path(area: LandingArea, manifest: Manifest, *, attempt: int = 1) -> Path:
    """Return where a run's manifest is sealed; a later attempt of the same run has its number in the name."""
    return _folder(area, manifest.exchange, manifest.dataset) / _name(manifest.run_id, attempt)


def seal_manifest(area: LandingArea, manifest: Manifest, *, sealed_at: datetime, attempt: int = 1) -> Path:
    """Write the manifest aside and rename it into place; from then on it never changes.

    Raises:
        DataError: another manifest is sealed under this run and attempt.
    """
    path = manifest_path(area, manifest, attempt=attempt)
    if path.exists():
        sealed = read_manifest(path)
        if sealed.manifest_id != manifest.manifest_id:
            raise DataError(f"{path} is sealed with other content ({sealed.manifest_id}); it cannot be replaced")
        return path
    write_whole(path, to_json(replace(manifest, sealed_at=sealed_at)).encode())
    return path


def read_manifest(path: str | Path) -> Manifest:
    """Return the manifest of a sealed file.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        return manifest_from_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"the manifest {path} is missing from the landing area") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the manifest {path} is damaged: {error}") from None


def readable_manifests(paths: Sequence[Path]) -> list[tuple[Manifest, Path]]:
    """Return the manifests of those files that can be read; what the others held counts as never answered."""
    found = list[tuple[Manifest, Path]]()
    for path in paths:
        try:
            found.append((read_manifest(path), path))
        except (DataError, OSError) as error:
            _LOG.warning("%s; its windows count as never fetched", error)
    return found


def manifests_of_run(area: LandingArea, exchange: str, dataset: str, *, run_id: str) -> list[Path]:
    """Return the manifests that this run sealed, first attempt first."""
    found = list[Path]()
    while (path := _folder(area, exchange, dataset) / _name(run_id, len(found) + 1)).exists():
        found.append(path)
    return found


def sealed_manifests(root: str | Path, *, since: datetime | None = None) -> list[Path]:
    """Return the sealed manifests of the lake in the order of their names, all or those written since an instant."""
    found = LandingArea(root).folder.glob("*/*/manifests/*.json")
    if since is None:
        return sorted(found)
    return sorted(path for path in found if path.stat().st_mtime >= since.timestamp())


def verify_files(area: LandingArea, manifest: Manifest) -> None:
    """Check that each file of the manifest still holds the bytes that landed.

    Raises:
        DataError: files are missing or changed; the text names each with both digests.
    """
    problems = []
    for file in manifest.files:
        path = area.absolute(file.path)
        if not path.is_file():
            problems.append(f"- {path} is missing")
            continue
        digest = file_digest(path)
        if digest != file.sha256:
            problems.append(f"- {path} holds sha256 {digest}, landed as {file.sha256}")
    if problems:
        head = (
            f"{len(problems)} landed file(s) of {manifest.run_id} ({manifest.exchange} {manifest.dataset}) are damaged"
        )
        raise DataError("\n".join([f"{head}; restore them, or fetch their windows again (--mode force):", *problems]))


def _folder(area: LandingArea, exchange: str, dataset: str) -> Path:
    return area.folder / checked_name(exchange) / checked_name(dataset) / "manifests"


def _name(run_id: str, attempt: int) -> str:
    return f"{checked_name(run_id)}.json" if attempt == 1 else f"{checked_name(run_id)}~{attempt}.json"
