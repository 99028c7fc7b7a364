"""The one CSV inside an archive zip, inflated as a stream and checked against the zip's own sums."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from marketlake.errors import DataError

inflater: ModuleType = zlib
with suppress(ImportError):  # ISA-L inflates 2.5 times as fast; the standard library does where its wheel is missing
    inflater = import_module("isal.isal_zlib")

_CHUNK_BYTES = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class ZipMember(io.RawIOBase):
    """A readable stream of the CSV in a zip.

    Raises:
        DataError: the file is no zip, is cut short, holds not exactly one CSV, or its bytes do not match its sums.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = path
        self._info = csv_member(path)
        self._stream = Path(path).open("rb")  # noqa: SIM115 - closed with this object
        try:
            self._stream.seek(self._data_offset())
        except DataError:
            self.close()
            raise
        self._left = self._info.compress_size
        self._inflater: Any = inflater.decompressobj(-15) if self._info.compress_type == zipfile.ZIP_DEFLATED else None
        self._ready = memoryview(b"")
        self._sum = self._size = 0
        self.has_quotes = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the zip."""
        if not self.closed:
            self._stream.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with inflated bytes; 0 at the end."""
        while not self._ready:
            if not self._left and (self._inflater is None or self._inflater.eof):
                self._check_sums()
                return 0
            self._inflate_chunk()
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def drain(self) -> None:
        """Read to the end, for the sums' sake."""
        buffer = bytearray(_CHUNK_BYTES)
        while self.readinto(buffer):
            pass

    def _inflate_chunk(self) -> None:
        packed = self._stream.read(min(_CHUNK_BYTES, self._left))
        self._left -= len(packed)
        if not packed:
            raise self._damaged("it is cut short")
        try:
            data = packed if self._inflater is None else self._inflater.decompress(packed)
        except (zlib.error, cast("type[Exception]", inflater.error)) as error:
            raise self._damaged(str(error)) from None
        self._sum, self._size = inflater.crc32(data, self._sum), self._size + len(data)
        self.has_quotes = self.has_quotes or b'"' in data or b"\\" in data
        self._ready = memoryview(data)

    def _check_sums(self) -> None:
        if (self._sum, self._size) != (self._info.CRC, self._info.file_size):
            raise self._damaged(
                f"{self._info.filename} has {self._size} bytes with sum {self._sum:08x}, "
                f"expected {self._info.file_size} with {self._info.CRC:08x}"
            )

    def _data_offset(self) -> int:
        # The directory of a zip that lost bytes can point before its start.
        self._stream.seek(max(0, self._info.header_offset))
        header = self._stream.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise self._damaged("it has no local header")
        _, name_size, extra_size = _LOCAL_HEADER.unpack(header)
        return int(self._info.header_offset + _LOCAL_HEADER.size + name_size + extra_size)

    def _damaged(self, why: str) -> DataError:
        return DataError(f"{self._path} is a damaged zip: {why}; download it again")


def csv_member(path: str | Path) -> zipfile.ZipInfo:
    """Return the directory entry of the zip's only CSV.

    Raises:
        DataError: it is no zip, its directory is damaged, or it holds none or several.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                info for info in archive.infolist() if info.filename.endswith(".csv") and "/" not in info.filename
            ]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is a damaged zip: {error}; download it again") from None
    if len(members) != 1 or members[0].compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
        raise DataError(f"{path} must hold exactly one deflated .csv; it holds {[info.filename for info in members]}")
    return members[0]
