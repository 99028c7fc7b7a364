"""Entries: what the ledger was told, a file each in the landing area, so that it can be told again without Postgres.

An audit, a load, a failure, planned facts, a reset and a restore each leave one beside their dataset's manifests, as
`landing/<exchange>/<dataset>/ledger/<name>.<kind>.json`. It is written whole, inside the ledger's transaction and after
the rows that it locks: a kill in between leaves an entry that the repeat replaces, and the order of `recorded_at` is
that of the commits.
"""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import psycopg

from marketlake.crash import crash_point
from marketlake.errors import DataError
from marketlake.instants import format_instant
from marketlake.landing.area import LandingArea, checked_name, write_whole
from marketlake.ledger.facts import Fact
from marketlake.work import hash_id

ENTRY_KINDS = ("audited", "loaded", "failed", "planned", "reset", "restored")
_FOLDER = "ledger"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Entry:
    """One thing that the ledger was told; `body` is plain JSON, made typed by `typed`. `recorded_at` is UTC."""

    kind: str
    exchange: str
    dataset: str
    run_id: str
    recorded_at: datetime
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entries:
    """All entries of a lake in the order of their recording, and why some of their files cannot be read."""

    entries: tuple[Entry, ...]
    damaged: tuple[str, ...]


def keep_entry(
    cursor: psycopg.Cursor[Any],
    area: LandingArea | None,
    kind: str,
    *,
    exchange: str,
    dataset: str,
    run_id: str,
    name: str | None = None,
    **body: Any,
) -> None:
    """Write an entry; call it last in the transaction that tells the ledger the same. Without an area do nothing.

    An entry of the same name and kind is replaced; without a name each is one of its own.
    """
    if area is None:
        return
    [(recorded_at,)] = cursor.execute("select clock_timestamp()").fetchall()
    entry = Entry(kind, exchange, dataset, run_id, recorded_at, plain(body))
    text = json.dumps(plain(entry), sort_keys=True, separators=(",", ":"))
    name = name or f"{recorded_at:%Y%m%dT%H%M%S%f}-{hash_id(text)[:8]}"
    write_whole(entry_folder(area, exchange, dataset) / f"{checked_name(name)}.{kind}.json", _sealed(text))
    crash_point(f"ledger.after_{kind}")


def keep_facts(
    cursor: psycopg.Cursor[Any], area: LandingArea | None, kind: str, facts: Sequence[Fact], *, run_id: str
) -> None:
    """Write an entry for the facts of each exchange and dataset, as `keep_entry` does."""
    places = sorted({(fact.exchange, fact.dataset) for fact in facts})
    for exchange, dataset in places:
        own = [fact for fact in facts if (fact.exchange, fact.dataset) == (exchange, dataset)]
        keep_entry(cursor, area, kind, exchange=exchange, dataset=dataset, run_id=run_id, facts=own)


def entry_folder(area: LandingArea, exchange: str, dataset: str) -> Path:
    """Return the folder of a dataset's entries."""
    return area.folder / checked_name(exchange) / checked_name(dataset) / _FOLDER


def read_entries(area: LandingArea, *, dataset: str | None = None) -> Entries:
    """Return the entries of all datasets, or of one, in the order of their recording; damaged files are named."""
    found, damaged = list[tuple[datetime, str, Entry]](), list[str]()
    for path in sorted(area.folder.glob(f"*/{dataset or '*'}/{_FOLDER}/*.json")):
        try:
            entry = _read(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"{path} cannot be read: {error}")
            continue
        found.append((entry.recorded_at, path.name, entry))
    found.sort(key=lambda item: item[:2])
    return Entries(tuple(entry for _, _, entry in found), tuple(damaged))


def plain(value: Any) -> Any:
    """Return the value made of JSON's own types: dataclasses as objects, instants and dates as ISO text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return format_instant(value)
    return value.isoformat() if isinstance(value, date) else value


def typed(kind: type[_T], value: Any) -> _T:
    """Return the dataclass that `plain` made this of.

    Raises:
        DataError: it is none; the text names what does not fit.
    """
    try:
        made = _typed(kind, value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"an entry of the ledger is no {kind.__name__}: {error}") from None
    if not isinstance(made, kind):
        raise DataError(f"an entry of the ledger is no {kind.__name__}; it was {value!r}")
    return made


def _typed(kind: Any, value: Any) -> Any:
    if value is None or kind is Any:
        return value
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _typed(next(item for item in inner if item is not type(None)), value)
    if origin is tuple:
        return tuple(_typed(inner[0], item) for item in value)
    if origin is list:
        return [_typed(inner[0], item) for item in value]
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _typed(hints[name], item) for name, item in value.items()})
    if kind in (datetime, date):
        return kind.fromisoformat(value)
    return value


def _sealed(text: str) -> bytes:
    """Return the file's bytes: the digest of the entry's text, then the text; flipped bits must not become facts."""
    return f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n".encode()


def _read(path: Path) -> Entry:
    digest, _, rest = path.read_text(encoding="utf-8").partition("\n")
    text = rest.removesuffix("\n")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError("its digest is not that of its text")
    tree = json.loads(text)
    return Entry(**{**tree, "recorded_at": datetime.fromisoformat(tree["recorded_at"])})
