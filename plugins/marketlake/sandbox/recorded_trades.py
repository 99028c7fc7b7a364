"""The recorded trades: `trades/binance-spot|binance-um/<symbol>-aggTrades|trades-*.csv.gz` as REST records.

The files have the archives' columns, with a header line or without; a field that was not recorded is null.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from marketlake.sandbox.columns import integers, numbers
from marketlake.sandbox.listings import SPOT, Listing
from marketlake.sandbox.market import Ask, Record
from marketlake.sandbox.noise import Ints
from marketlake.sandbox.recorded_files import FOLDERS, first_line, read_csv

_BEST_MATCH = ("M", "isBestMatch")  # spot says it, USD-M does not
_WHOLE = ("a", "f", "l", "T", "id", "time")  # JSON numbers
_FLAGS = ("m", "isBuyerMaker", *_BEST_MATCH)
# The name in REST of each column of an archive, in both one order.
_NAMES = {
    "aggTrades": ("a", "p", "q", "f", "l", "T", "m", "M"),
    "trades": ("id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"),
}
_TIMES = {"aggTrades": "T", "trades": "time"}
_TradesKey = tuple[str, str, str]


@dataclass(frozen=True)
class _Recorded:
    """All recorded trades of a market, each once, by id."""

    ids: Ints
    time_ms: Ints
    table: Any


class RecordedTrades:
    """Serves the recorded trades of one folder."""

    def __init__(self, folder: Path) -> None:
        self._files = _files_by_market(folder)
        self._trades: dict[_TradesKey, _Recorded] = {}
        self._lock = threading.Lock()

    def markets(self) -> set[tuple[str, str]]:
        """Return venue and symbol of every market that has recorded trades."""
        return {(venue, symbol) for venue, symbol, _ in self._files}

    def page(self, dataset: str, listing: Listing, ask: Ask) -> list[Record]:
        """Return a page of `aggTrades` or `trades` that happened by now, by id where `from_id` is given."""
        recorded = self._recorded(dataset, listing)
        last = ask.now_ms if ask.end_ms is None else min(ask.end_ms, ask.now_ms)
        wanted = recorded.time_ms <= last
        if ask.from_id is not None:
            wanted &= recorded.ids >= ask.from_id
        elif ask.start_ms is not None:
            wanted &= recorded.time_ms >= ask.start_ms
        is_newest = ask.from_id is None and ask.start_ms is None
        rows = np.flatnonzero(wanted)[slice(-ask.limit, None) if is_newest else slice(ask.limit)]
        return _records(recorded.table.take(integers(rows)))

    def _recorded(self, dataset: str, listing: Listing) -> _Recorded:
        key = (listing.venue, listing.symbol, dataset)
        with self._lock:
            if key not in self._trades:
                self._trades[key] = _read(self._files.get(key, []), dataset, listing.venue)
            return self._trades[key]


def _files_by_market(folder: Path) -> dict[_TradesKey, list[Path]]:
    found: dict[_TradesKey, list[Path]] = {}
    for venue, name in FOLDERS.items():
        for file in sorted((folder / "trades" / name).glob("*-*-*.csv.gz")):
            symbol, dataset, _ = file.name.split("-", 2)
            if dataset in _NAMES:
                found.setdefault((venue, symbol, dataset), []).append(file)
    return found


def _read(files: list[Path], dataset: str, venue: str) -> _Recorded:
    names = tuple(name for name in _NAMES[dataset] if venue == SPOT or name not in _BEST_MATCH)
    empty = pa.table({name: pa.nulls(0, pa.string()) for name in names})
    whole = pa.concat_tables([empty, *(_read_file(file, names) for file in files)])
    ids, first = np.unique(numbers(whole[names[0]].cast(pa.int64())), return_index=True)
    table = whole.take(integers(first))
    return _Recorded(ids, numbers(table[_TIMES[dataset]].cast(pa.int64())), table)


def _read_file(file: Path, names: tuple[str, ...]) -> Any:
    has_header = not first_line(file).split(",")[0].isdigit()
    return read_csv(file, names, header_lines=int(has_header))


def _records(table: Any) -> list[Record]:
    columns = [_typed(name, table[name]).to_pylist() for name in table.column_names]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _typed(name: str, column: Any) -> Any:
    if name in _WHOLE:
        return column.cast(pa.int64())
    return pc.utf8_lower(column).cast(pa.bool_()) if name in _FLAGS else column
