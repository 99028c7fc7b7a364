"""The archive tree: addresses, the instant a file is published, CSV, zip and CHECKSUM."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

from marketlake.sandbox.columns import joined
from marketlake.sandbox.intervals import INTERVALS, MONTH
from marketlake.sandbox.listings import SPOT, UM
from marketlake.sandbox.market import ArchivePath

DATASETS = ("klines", "aggTrades", "trades", "fundingRate")
PUBLISHED_AFTER = timedelta(hours=8)
_PATH = re.compile(
    r"data/(?P<tree>spot|futures/um)/(?P<cycle>monthly|daily)/(?P<dataset>\w+)/(?P<symbol>\w+)/"
    r"(?:(?P<folder>\w+)/)?(?P<name>[\w-]+)\.zip"
)
_LABEL = re.compile(r"(?P<year>\d{4})-(?P<month>\d{2})(?:-(?P<day>\d{2}))?")


def parse_path(path: str) -> ArchivePath | None:
    """Return what an address below the archive's root stands for, or None where no such file can exist."""
    match = _PATH.fullmatch(path)
    if match is None or match["dataset"] not in DATASETS:
        return None
    dataset, symbol, folder = match["dataset"], match["symbol"], match["folder"]
    venue = SPOT if match["tree"] == "spot" else UM
    if (dataset == "klines") != (folder is not None) or (dataset == "fundingRate" and venue == SPOT):
        return None
    timeframe = {"1mo": MONTH}.get(folder, folder) if folder else None
    if timeframe is not None and (timeframe not in INTERVALS or folder == MONTH):
        return None
    start = f"{symbol}-{folder or dataset}-"
    if not match["name"].startswith(start) or (dataset == "fundingRate" and match["cycle"] == "daily"):
        return None
    period = _period(match["name"][len(start) :], match["cycle"])
    if period is None:
        return None
    return ArchivePath(venue, match["cycle"], dataset, symbol, timeframe, period[0], period[1], path)


def published_ms(path: ArchivePath) -> int:
    """Return when a file appears: 08:00 UTC of the next day, or of the month's first Monday after a month."""
    end = datetime.fromtimestamp(path.end_ms / 1000, UTC)
    if path.cycle == "monthly":
        end += timedelta(days=-end.weekday() % 7)
    return int((end + PUBLISHED_AFTER).timestamp()) * 1000


def csv_of_columns(header: str, columns: list[Any]) -> bytes:
    """Return the CSV of text columns, one line a row, with the header where there is one."""
    lines = joined(columns, ",").to_pylist()
    return _csv(header, lines)


def csv_of_rows(header: str, rows: list[list[str]]) -> bytes:
    """Return the CSV of text rows."""
    return _csv(header, [",".join(row) for row in rows])


def zipped(path: ArchivePath, content: bytes) -> bytes:
    """Return the zip that holds the CSV under the file's own name; the same content gives the same bytes."""
    end = datetime.fromtimestamp(path.end_ms / 1000, UTC)
    entry = zipfile.ZipInfo(path.name.removesuffix(".zip") + ".csv", (end.year, end.month, end.day, 8, 0, 0))
    entry.external_attr = 0o644 << 16
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 1)
    return target.getvalue()


def unzipped(archive: bytes) -> tuple[str, list[list[str]]]:
    """Return header (empty where there is none) and rows of the one CSV in a zip."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        lines = opened.read(opened.namelist()[0]).decode().splitlines()
    header = lines.pop(0) if lines and lines[0][:1].isalpha() else ""
    return header, [line.split(",") for line in lines]


def checksum_line(path: ArchivePath, archive: bytes) -> bytes:
    """Return the CHECKSUM file's line: sha256, two spaces, name."""
    return f"{hashlib.sha256(archive).hexdigest()}  {path.name}\n".encode()


def etag(content: bytes) -> str:
    """Return the storage's tag of a content."""
    return hashlib.sha256(content).hexdigest()[:32]


def _period(label: str, cycle: str) -> tuple[int, int] | None:
    match = _LABEL.fullmatch(label)
    if match is None or (match["day"] is None) == (cycle == "daily"):
        return None
    try:
        start = datetime(int(match["year"]), int(match["month"]), int(match["day"] or 1), tzinfo=UTC)
    except ValueError:
        return None
    if cycle == "daily":
        end = start + timedelta(days=1)
    else:
        end = datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)
    return int(start.timestamp()) * 1000, int(end.timestamp()) * 1000


def _csv(header: str, lines: list[str]) -> bytes:
    return "\n".join([*([header] if header else []), *lines, ""]).encode()
