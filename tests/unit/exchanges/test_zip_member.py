"""The CSV inside an archive zip, and zips that are none."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from marketlake.errors import DataError
from marketlake.exchanges.zip_member import ZipMember
from tests.unit.exchanges.archive_files import write_zip, zip_bytes

TEXT = "".join(f"{number},value\n" for number in range(200_000))


@pytest.mark.parametrize("stored", [False, True])
def test_a_member_is_inflated_as_it_was(tmp_path: Path, stored: bool) -> None:
    path = write_zip(tmp_path, TEXT, stored=stored)

    with ZipMember(path) as member:
        assert io.BufferedReader(member).read() == TEXT.encode()


def test_a_zip_with_another_system_folder_inside_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mac.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("updates.csv", "a,b\n")
        archive.writestr("__MACOSX/._updates.csv", "x")

    with ZipMember(path) as member:
        assert io.BufferedReader(member).read() == b"a,b\n"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="cut short"),
        pytest.param(lambda data: b"<html>not found</html>", id="html"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:200] + bytes([data[200] ^ 255]) + data[201:], id="a flipped byte"),
        pytest.param(lambda data: data[:10] + data[60:], id="lost bytes"),
    ],
)
def test_a_damaged_zip_is_refused_by_name(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(damage(zip_bytes(TEXT)))  # type: ignore[operator]

    with pytest.raises(DataError, match=r"archive\.zip is a damaged zip.*download it again"), ZipMember(path) as member:
        member.drain()


def test_a_stored_member_that_changed_does_not_match_its_sum(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    data = zip_bytes(TEXT, stored=True)
    path.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])

    with pytest.raises(DataError, match=r"has 2488890 bytes with sum \w{8}, expected"), ZipMember(path) as member:
        member.drain()


def test_a_zip_must_hold_one_csv(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "2")

    with pytest.raises(DataError, match=r"exactly one deflated \.csv; it holds \['a\.csv', 'b\.csv'\]"):
        ZipMember(path)
