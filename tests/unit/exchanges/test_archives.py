"""ING-11, ING-12, ING-14: archives into the landing area."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from marketlake.errors import UnavailableError
from marketlake.exchanges.archives import ArchiveDownloader
from marketlake.exchanges.failures import UnreadableBodyError
from marketlake.exchanges.http import Requester
from marketlake.landing import LandingArea
from marketlake.landing.area import file_digest
from tests.unit.exchanges.archive_files import MONTH, row, zip_bytes
from tests.unit.exchanges.conftest import PreparedServer

Make = Callable[..., Requester]
ZIP = zip_bytes(row() + "\n")
OTHER = zip_bytes(row(close="1") + "\n")
NAME = MONTH.rsplit("/", 1)[1]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def checksum(data: bytes, name: str = NAME) -> str:
    return f"{digest(data)}  {name}\n"


@pytest.fixture
def area(tmp_path: Path) -> LandingArea:
    return LandingArea(tmp_path)


@pytest.fixture
def downloader(area: LandingArea, server: PreparedServer, make_requester: Make) -> ArchiveDownloader:
    return ArchiveDownloader(
        area, make_requester("archive"), archive_url=server.url + "/", exchange="binance", dataset="ohlcv", run_id="r"
    )


def test_a_verified_archive_lands_under_its_own_path_with_its_meta(
    downloader: ArchiveDownloader, server: PreparedServer, area: LandingArea
) -> None:
    server.add(f"/{MONTH}", 200, ZIP)
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(ZIP))

    outcome = downloader.download(MONTH)

    assert outcome.stored is not None
    assert (outcome.status, outcome.stored.path) == ("verified", f"binance/ohlcv/archives/{MONTH}")
    assert area.absolute(outcome.stored.path).read_bytes() == ZIP
    meta = json.loads(area.absolute(outcome.stored.path + ".meta.json").read_text())
    assert (meta["url"], meta["sha256"], meta["published_sha256"]) == (
        f"{server.url}/{MONTH}",
        digest(ZIP),
        digest(ZIP),
    )
    assert (meta["bytes"], meta["status"]) == (len(ZIP), "verified")
    assert meta["received_at"].endswith("Z")
    assert not list(area.folder.rglob("*.partial*"))


def test_an_absent_archive_costs_one_request(downloader: ArchiveDownloader, server: PreparedServer) -> None:
    assert downloader.download(MONTH).status == "absent"
    assert server.paths == [f"/{MONTH}"]


def test_an_archive_without_checksum_file_is_unverified_and_warned_of(
    downloader: ArchiveDownloader, server: PreparedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.add(f"/{MONTH}", 200, ZIP)

    outcome = downloader.download(MONTH)

    assert (outcome.status, outcome.published_sha256, outcome.computed_sha256) == ("unverified", None, digest(ZIP))
    assert "has no checksum file; it is loaded as unverified" in caplog.text


def test_a_wrong_checksum_is_tried_once_more_and_both_digests_are_kept(
    downloader: ArchiveDownloader, server: PreparedServer, area: LandingArea
) -> None:
    server.add(f"/{MONTH}", 200, ZIP)
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(OTHER))

    outcome = downloader.download(MONTH)

    assert (outcome.status, outcome.stored) == ("checksum_mismatch", None)
    assert (outcome.published_sha256, outcome.computed_sha256) == (digest(OTHER), digest(ZIP))
    assert server.paths.count(f"/{MONTH}") == 2
    aside = area.absolute(f"binance/ohlcv/aside/{MONTH}.{digest(ZIP)[:8]}")
    meta = json.loads(aside.with_name(aside.name + ".meta.json").read_text())
    assert aside.read_bytes() == ZIP
    assert (meta["sha256"], meta["published_sha256"]) == (digest(ZIP), digest(OTHER))


def test_a_fresh_download_that_is_right_ends_a_mismatch(downloader: ArchiveDownloader, server: PreparedServer) -> None:
    server.add(f"/{MONTH}", 200, OTHER)
    server.add(f"/{MONTH}", 200, ZIP)
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(ZIP))

    assert downloader.download(MONTH).status == "verified"


@pytest.mark.parametrize("has_checksum", [True, False])
def test_a_truncated_zip_is_no_landed_file(
    downloader: ArchiveDownloader, server: PreparedServer, area: LandingArea, has_checksum: bool
) -> None:
    cut = ZIP[: len(ZIP) // 2]
    server.add(f"/{MONTH}", 200, cut)
    if has_checksum:
        server.add(f"/{MONTH}.CHECKSUM", 200, checksum(cut))

    outcome = downloader.download(MONTH)

    assert (outcome.status, outcome.stored) == ("downloaded", None)
    assert "is a damaged zip" in (outcome.error or "")
    assert area.stored(f"binance/ohlcv/archives/{MONTH}") is None


def test_a_cut_download_goes_on_where_it_stopped(downloader: ArchiveDownloader, server: PreparedServer) -> None:
    server.add(f"/{MONTH}", 200, ZIP[:100], ETag='"v1"', content_length=str(len(ZIP)))
    server.add(f"/{MONTH}", 200, ZIP, ETag='"v1"')
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(ZIP))

    assert downloader.download(MONTH).status == "verified"

    headers = [headers for path, _, headers in server.requests if path == f"/{MONTH}"]
    assert "range" not in headers[0]
    assert (headers[1]["range"], headers[1]["if-range"]) == ("bytes=100-", '"v1"')


def test_a_download_that_a_crash_stopped_goes_on_in_the_next_process(
    downloader: ArchiveDownloader, server: PreparedServer, area: LandingArea
) -> None:
    partial = area.partial(f"binance/ohlcv/archives/{MONTH}")
    partial.write_bytes(ZIP[:50])
    partial.with_name(partial.name + ".validator").write_text(json.dumps({"validator": '"v1"'}))
    server.add(f"/{MONTH}", 200, ZIP, ETag='"v1"')
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(ZIP))

    assert downloader.download(MONTH).status == "verified"
    assert server.requests[0][2]["range"] == "bytes=50-"


def test_a_page_in_place_of_a_zip_or_checksum_is_retried_and_then_an_error(
    downloader: ArchiveDownloader, server: PreparedServer
) -> None:
    server.add(f"/{MONTH}", 200, "<html>welcome</html>")
    with pytest.raises(UnreadableBodyError, match="is no zip"):
        downloader.download(MONTH)
    assert server.paths.count(f"/{MONTH}") == 6

    server.answers[f"/{MONTH}"].clear()
    server.add(f"/{MONTH}", 200, ZIP)
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(ZIP, "BTCUSDT-1h-2025-02.zip"))
    with pytest.raises(UnreadableBodyError, match=f"expected '<sha256>  {NAME}'"):
        downloader.download(MONTH)


def test_a_server_that_stays_down_is_an_error_and_leaves_nothing_landed(
    downloader: ArchiveDownloader, server: PreparedServer, area: LandingArea
) -> None:
    server.add(f"/{MONTH}", 503)

    with pytest.raises(UnavailableError, match="HTTP 503"):
        downloader.download(MONTH)

    assert not list(area.folder.rglob("*.zip"))


def test_a_landed_archive_is_not_downloaded_again_while_its_checksum_is_the_same(
    downloader: ArchiveDownloader, server: PreparedServer
) -> None:
    server.add(f"/{MONTH}", 200, ZIP)
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(ZIP))
    first = downloader.download(MONTH)
    server.requests.clear()

    again = downloader.download(MONTH)

    assert server.paths == [f"/{MONTH}.CHECKSUM"]
    assert first.stored is not None
    assert again.stored is not None
    assert again.stored.path == first.stored.path


@pytest.mark.parametrize(("name", "count"), [("2022-04-21", 360), ("2022-10-04", 132)])
def test_every_reissue_of_the_recorded_lists_is_noticed_and_a_file_of_today_is_not(
    downloader: ArchiveDownloader, server: PreparedServer, recorded_data: Path, name: str, count: int
) -> None:
    listed = _reissues(recorded_data / "archives" / "updates", name)
    for path, _, new in listed:
        server.add(f"/{path}.CHECKSUM", 200, f"{new}  {path.rsplit('/', 1)[1]}")

    assert len(listed) == count
    assert all(downloader.is_reissued(path, old) for path, old, _ in listed)
    assert not any(downloader.is_reissued(path, new) for path, _, new in listed[::20])
    assert all(path.endswith(".CHECKSUM") for path in server.paths)


def test_a_reissue_lands_beside_the_original_and_is_found_by_its_checksum(
    downloader: ArchiveDownloader, server: PreparedServer, area: LandingArea
) -> None:
    server.add(f"/{MONTH}", 200, ZIP)
    server.add(f"/{MONTH}", 200, OTHER)
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(ZIP))
    server.add(f"/{MONTH}.CHECKSUM", 200, checksum(OTHER))
    original = downloader.download(MONTH).stored

    reissue = downloader.download(MONTH).stored
    again = downloader.download(MONTH).stored

    assert original is not None
    assert reissue is not None
    assert again is not None
    assert reissue.path == f"binance/ohlcv/archives/{MONTH.removesuffix('.zip')}.{digest(OTHER)[:8]}.zip"
    assert again.path == reissue.path
    assert file_digest(area.absolute(original.path)) == digest(ZIP)
    assert file_digest(area.absolute(reissue.path)) == digest(OTHER)


def _reissues(folder: Path, name: str) -> list[tuple[str, str, str]]:
    """Path, old and new sha256 of a recorded list; each list has columns and file names of its own."""
    file = f"{name}_aggregate_trade_updates"
    if (folder / f"{file}.zip").is_file():
        with zipfile.ZipFile(folder / f"{file}.zip") as archive:
            text = archive.read(f"{file}.csv").decode("utf-8-sig")
    else:
        text = (folder / f"{file}.csv").read_text(encoding="utf-8-sig")
    found = []
    for line in csv.DictReader(io.StringIO(text)):
        path = line.get("File Path") or f"data/spot/monthly/aggTrades/{line['File'].removesuffix('.zip')}.zip"
        old, new = (line[f"{which} File Checksum"].split()[0] for which in ("Original", "New"))
        found.append((path, old, new))
    return found
