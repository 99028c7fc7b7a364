"""The records that pass between plan, fetch, landing and load: markets, fetch tasks, answers, manifests; as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from marketlake.instants import Window, format_instant, parse_instant


@dataclass(frozen=True, order=True)
class Market:
    """One symbol on one exchange, with what its requests need. Instants are UTC, None where unknown."""

    market_type: str
    symbol: str
    exchange_symbol: str
    listed_at: datetime | None = None
    delisted_at: datetime | None = None


@dataclass(frozen=True)
class Instrument:
    """One market as its exchange lists it; amounts are exact, instants UTC, None where the exchange does not say.

    `contract_multiplier` is the amount per contract: in base asset for linear contracts, in quote asset for inverse
    ones (those with `margin_asset` equal to `base_asset`). `funding_interval_hours` only where the list states it.
    """

    exchange: str
    symbol: str
    exchange_symbol: str
    market_type: str
    base_asset: str
    quote_asset: str
    margin_asset: str | None = None
    price_tick: Decimal | None = None
    amount_step: Decimal | None = None
    contract_multiplier: Decimal | None = None
    funding_interval_hours: int | None = None
    listed_at: datetime | None = None
    delisted_at: datetime | None = None

    @property
    def market(self) -> Market:
        """What a fetch task needs of it."""
        return Market(self.market_type, self.symbol, self.exchange_symbol, self.listed_at, self.delisted_at)


@dataclass(frozen=True)
class FetchTask:
    """One thing to fetch: a window of one market from one source.

    `archive_path` is the file's path below the exchange's archive URL. `may_fall_back`: an absent archive is answered
    by REST in the same run.
    """

    task_id: str
    run_id: str
    exchange: str
    dataset: str
    market: Market
    timeframe: str
    source: str
    window: Window
    archive_path: str | None = None
    reason: str = "new"
    may_fall_back: bool = True


@dataclass(frozen=True)
class LandedFile:
    """One file in the landing area; `path` is relative to the landing root, `source_ref` names it in every row."""

    path: str
    sha256: str
    bytes: int
    url: str
    source_ref: str
    received_at: datetime
    format: str
    checksum_status: str = "none"


@dataclass(frozen=True)
class Answer:
    """What one source said about one window: `answered` (rows or none), `absent` (no such archive) or `failed`."""

    task_id: str
    market: Market
    timeframe: str
    source: str
    window: Window
    status: str
    received_at: datetime
    files: tuple[LandedFile, ...] = ()
    error: str | None = None
    reason: str = "new"


@dataclass(frozen=True)
class Manifest:
    """What one run fetched of one dataset from one exchange; sealed, it never changes."""

    run_id: str
    exchange: str
    dataset: str
    feed_market: str
    clock_offset_seconds: float
    now: datetime
    answers: tuple[Answer, ...]
    kind: str = "load"
    sealed_at: datetime | None = None

    @property
    def manifest_id(self) -> str:
        """A hash of everything but the instant of sealing; 32 hex digits."""
        return hash_id(to_json(replace(self, sealed_at=None)))

    @property
    def files(self) -> tuple[LandedFile, ...]:
        """All landed files, in the order of the answers."""
        return tuple(file for answer in self.answers for file in answer.files)


def hash_id(*parts: str) -> str:
    """Return 32 hex digits that identify the parts in their order."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def to_json(record: Market | FetchTask | Answer | Manifest) -> str:
    """Return the record's canonical JSON: sorted keys, no spaces, instants as ISO text."""
    return json.dumps(asdict(record), default=_plain, sort_keys=True, separators=(",", ":"))


def task_from_json(text: str | dict[str, Any]) -> FetchTask:
    """Return the task of its JSON."""
    tree = _tree(text)
    return FetchTask(**{**tree, "market": _market(tree["market"]), "window": _window(tree["window"])})


def manifest_from_json(text: str | dict[str, Any]) -> Manifest:
    """Return the manifest of its JSON."""
    tree = _tree(text)
    return Manifest(
        **{
            **tree,
            "now": parse_instant(tree["now"]),
            "sealed_at": parse_instant(tree["sealed_at"]) if tree["sealed_at"] else None,
            "answers": tuple(_answer(item) for item in tree["answers"]),
        }
    )


def _answer(tree: dict[str, Any]) -> Answer:
    return Answer(
        **{
            **tree,
            "market": _market(tree["market"]),
            "window": _window(tree["window"]),
            "received_at": parse_instant(tree["received_at"]),
            "files": tuple(
                LandedFile(**{**file, "received_at": parse_instant(file["received_at"])}) for file in tree["files"]
            ),
        }
    )


def _market(tree: dict[str, Any]) -> Market:
    instants = {name: parse_instant(tree[name]) if tree[name] else None for name in ("listed_at", "delisted_at")}
    return Market(**{**tree, **instants})


def _window(tree: dict[str, Any]) -> Window:
    return Window(parse_instant(tree["start"]), parse_instant(tree["end"]))


def _tree(text: str | dict[str, Any]) -> dict[str, Any]:
    tree = json.loads(text) if isinstance(text, str) else text
    return dict(tree)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return format_instant(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")
