"""Archives are made once and kept while there is room."""

from marketlake.sandbox.archives import parse_path
from marketlake.sandbox.market import ArchivePath
from marketlake.sandbox.shelf import Shelf


def paths() -> list[ArchivePath]:
    stem = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-"
    return [path for month in (1, 2, 3) if (path := parse_path(f"{stem}{month:02d}.zip")) is not None]


class Maker:
    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, path: ArchivePath) -> bytes | None:
        self.made.append(path.name)
        return None if path.name.endswith("03.zip") else path.name.encode()


def test_an_archive_is_made_once() -> None:
    maker = Maker()
    shelf = Shelf(maker)
    assert [shelf.archive(paths()[0]) for _ in range(3)] == [b"BTCUSDT-1h-2024-01.zip"] * 3
    assert len(maker.made) == 1


def test_the_one_used_longest_ago_makes_room() -> None:
    maker = Maker()
    shelf = Shelf(maker, most_bytes=30)
    first, second, _ = paths()
    for path in (first, second, second, first):
        shelf.archive(path)
    assert maker.made == ["BTCUSDT-1h-2024-01.zip", "BTCUSDT-1h-2024-02.zip", "BTCUSDT-1h-2024-01.zip"]


def test_what_is_not_there_is_asked_for_again() -> None:
    maker = Maker()
    shelf = Shelf(maker)
    assert [shelf.archive(paths()[2]) for _ in range(2)] == [None, None]
    assert len(maker.made) == 2
