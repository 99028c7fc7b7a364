"""Manifests: sealed once, found again, checked against their files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from marketlake.errors import DataError
from marketlake.instants import Window, parse_instant
from marketlake.landing import (
    LandingArea,
    manifests_of_run,
    read_manifest,
    seal_manifest,
    sealed_manifests,
    verify_files,
)
from marketlake.work import Answer, LandedFile, Manifest, Market

NOW = parse_instant("2025-02-20T12:00:00Z")
MARKET = Market("spot", "BTC/USDT", "BTCUSDT")


@pytest.fixture
def area(tmp_path: Path) -> LandingArea:
    return LandingArea(tmp_path)


def landed(area: LandingArea, path: str = "binance/ohlcv/rest/run/t.jsonl", data: bytes = b"rows") -> LandedFile:
    area.partial(path).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    area.commit(path, {}, digest=digest, size=len(data))
    return LandedFile(path, digest, len(data), "http://x", "/x", NOW, "rest_jsonl")


def manifest(*files: LandedFile) -> Manifest:
    over = Window(NOW - timedelta(days=1), NOW)
    answer = Answer("t", MARKET, "1h", "rest", over, "answered", NOW, files)
    return Manifest("run", "binance", "ohlcv", "live", 0.0, NOW, (answer,))


def test_a_sealed_manifest_reads_back_as_it_was_with_the_instant_of_sealing(area: LandingArea) -> None:
    made = manifest(landed(area))

    path = seal_manifest(area, made, sealed_at=NOW)

    assert path == area.folder / "binance" / "ohlcv" / "manifests" / "run.json"
    assert read_manifest(path) == replace(made, sealed_at=NOW)
    assert read_manifest(path).manifest_id == made.manifest_id


def test_sealing_again_keeps_the_first_and_other_content_is_refused(area: LandingArea) -> None:
    made = manifest()
    path = seal_manifest(area, made, sealed_at=NOW)

    assert seal_manifest(area, made, sealed_at=NOW + timedelta(hours=1)) == path
    assert read_manifest(path).sealed_at == NOW
    with pytest.raises(DataError, match="is sealed with other content"):
        seal_manifest(area, replace(made, feed_market="recorded"), sealed_at=NOW)


def test_further_attempts_of_a_run_are_found_in_order(area: LandingArea) -> None:
    first = seal_manifest(area, manifest(), sealed_at=NOW)
    second = seal_manifest(area, manifest(landed(area)), sealed_at=NOW, attempt=2)
    write_aside = first.with_name("other.json.partial")
    write_aside.write_text("{}")

    assert manifests_of_run(area, "binance", "ohlcv", run_id="run") == [first, second]
    assert sealed_manifests(area.root) == [first, second]
    assert manifests_of_run(area, "binance", "ohlcv", run_id="other") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run_id": "run"}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)

    with pytest.raises(DataError, match=r"the manifest .*run\.json is damaged"):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the manifest .*run\.json is missing"):
        read_manifest(tmp_path / "run.json")


def test_damaged_and_missing_files_are_all_named_with_both_digests(area: LandingArea) -> None:
    whole, damaged, missing = (landed(area, f"binance/ohlcv/rest/run/{name}.jsonl") for name in "abc")
    verify_files(area, manifest(whole, damaged, missing))
    area.absolute(damaged.path).write_bytes(b"rowz")
    area.absolute(missing.path).unlink()

    with pytest.raises(DataError) as caught:
        verify_files(area, manifest(whole, damaged, missing))

    text = str(caught.value)
    assert text.startswith("2 landed file(s) of run (binance ohlcv) are damaged")
    assert "--mode force" in text
    assert f"b.jsonl holds sha256 {hashlib.sha256(b'rowz').hexdigest()}, landed as {damaged.sha256}" in text
    assert "c.jsonl is missing" in text
    assert "a.jsonl" not in text
