"""Where files land, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from marketlake.errors import DataError, SetupError, UnavailableError, UsageError
from marketlake.landing import LandingArea
from marketlake.landing.area import write_whole

ARCHIVE = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"
DIGEST = "ab" * 32


@pytest.fixture
def area(tmp_path: Path) -> LandingArea:
    return LandingArea(tmp_path)


def test_paths_are_those_of_the_layout(area: LandingArea) -> None:
    assert area.archive_path("binance", "ohlcv", ARCHIVE) == f"binance/ohlcv/archives/{ARCHIVE}"
    assert area.archive_path("binance", "ohlcv", ARCHIVE, digest=DIGEST).endswith("/BTCUSDT-1h-2025-01.abababab.zip")
    assert area.segment_path("binance", "ohlcv", run_id="cli__1", task_id="t") == "binance/ohlcv/rest/cli__1/t.jsonl"
    assert area.segment_path("binance", "ohlcv", run_id="r", task_id="t", attempt=2).endswith("/r/t~2.jsonl")
    assert area.absolute("a/b") == Path(area.root) / "landing" / "a" / "b"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "x" * 201, "../../etc", "a\x00b"])
def test_a_name_that_could_leave_its_folder_is_refused(area: LandingArea, name: str) -> None:
    with pytest.raises(UsageError, match="a name of 1 to 200 letters"):
        area.segment_path("binance", "ohlcv", run_id=name, task_id="t")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_path_out_of_the_landing_folder_is_refused(area: LandingArea, path: str) -> None:
    with pytest.raises(DataError, match="is not a path below the landing folder"):
        area.absolute(path)


def test_a_committed_file_has_its_meta_beside_it(area: LandingArea) -> None:
    area.partial("a/b.zip").write_bytes(b"data")

    stored = area.commit("a/b.zip", {"url": "http://x/b.zip"}, digest=hashlib.sha256(b"data").hexdigest(), size=4)

    assert area.stored("a/b.zip") == stored
    assert stored.meta == {"url": "http://x/b.zip", "sha256": stored.sha256, "bytes": 4}
    assert sorted(os.listdir(area.absolute("a"))) == ["b.zip", "b.zip.meta.json"]


@pytest.mark.parametrize("lost", ["b.zip", "b.zip.meta.json"])
def test_a_file_without_its_meta_or_the_other_way_round_has_not_landed(area: LandingArea, lost: str) -> None:
    area.partial("a/b.zip").write_bytes(b"data")
    area.commit("a/b.zip", {}, digest="", size=4)

    area.absolute(f"a/{lost}").unlink()

    assert area.stored("a/b.zip") is None


def test_a_file_of_another_size_or_with_a_damaged_meta_has_not_landed(area: LandingArea) -> None:
    area.partial("a/b.zip").write_bytes(b"data")
    area.commit("a/b.zip", {}, digest="", size=4)

    area.absolute("a/b.zip").write_bytes(b"dat")
    assert area.stored("a/b.zip") is None
    area.absolute("a/b.zip").write_bytes(b"data")
    area.absolute("a/b.zip.meta.json").write_text('{"bytes"')
    assert area.stored("a/b.zip") is None


def test_a_refused_file_is_moved_aside_with_what_is_known_of_it(area: LandingArea) -> None:
    partial = area.partial("a/b.zip")
    partial.write_bytes(b"bad")
    path = area.aside_path("binance", "ohlcv", ARCHIVE, digest=DIGEST)

    area.move_aside(partial, path, {"sha256": DIGEST})

    aside = area.absolute(path)
    assert aside.read_bytes() == b"bad"
    assert json.loads(aside.with_name(aside.name + ".meta.json").read_text()) == {"sha256": DIGEST}
    assert not partial.exists()


def test_a_full_disk_is_named_with_the_place(tmp_path: Path) -> None:
    target = tmp_path / "file"
    (tmp_path / "file.partial").symlink_to("/dev/full")

    with pytest.raises(
        SetupError, match=rf"no space left for {target}: .* Free space, then run the same command again"
    ):
        write_whole(target, b"x" * 10_000)

    assert not target.exists()


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "landing").write_text("a file where the folder should be")

    with pytest.raises(UnavailableError, match=r"cannot write .*landing"):
        LandingArea(tmp_path).partial("a/b")


def test_a_root_in_the_cloud_is_refused_for_now() -> None:
    with pytest.raises(SetupError, match=r"must be a local folder; delta_lake.storage_path is 's3://lake'"):
        LandingArea("s3://lake").absolute("a")
