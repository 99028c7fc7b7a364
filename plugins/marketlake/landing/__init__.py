"""The landing area: what exchanges sent, byte for byte, and when; manifests seal what one run fetched."""

from __future__ import annotations

from marketlake.landing.area import LandingArea, StoredFile
from marketlake.landing.manifests import (
    manifest_path,
    manifests_of_run,
    read_manifest,
    readable_manifests,
    seal_manifest,
    sealed_manifests,
    verify_files,
)
from marketlake.landing.segments import Segment, segment_lines

__all__ = [
    "LandingArea",
    "Segment",
    "StoredFile",
    "manifest_path",
    "manifests_of_run",
    "read_manifest",
    "readable_manifests",
    "seal_manifest",
    "sealed_manifests",
    "segment_lines",
    "verify_files",
]
