"""What a run was asked to do, as it is kept in the ledger: names as typed, checked before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from marketlake.datasets import DATASETS, dataset_named
from marketlake.errors import UsageError, one_of
from marketlake.ledger.runs import RUN_MODES
from marketlake.settings import Settings
from marketlake.timeframes import check_timeframe

BY_HAND = "cli"
SOURCES = ("archive", "rest")
_LISTS = ("datasets", "exchanges", "symbols", "timeframes")


@dataclass(frozen=True)
class RunRequest:
    """What to do, as typed; an empty list means all that the settings name.

    `with_open_holes`: also ask again for the markets' open holes before the window whose time has come. `parent` is the
    run of which this one is a part.
    """

    datasets: tuple[str, ...] = ()
    exchanges: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    timeframes: tuple[str, ...] = ()
    mode: str = "incremental"
    source: str | None = None
    check_reissued: bool = False
    with_open_holes: bool = False
    dry_run: bool = False
    parent: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the request as the ledger keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> RunRequest:
        """Return the request that the ledger kept."""
        known = {field.name: tree[field.name] for field in fields(cls) if field.name in tree}
        return cls(**{**known, **{name: tuple(known.get(name, ())) for name in _LISTS}})


def check_request(request: RunRequest, settings: Settings, *, has_window: bool) -> RunRequest:
    """Return the request with its datasets and exchanges filled in; needs neither ledger nor exchange.

    Datasets are all, or only candles where a timeframe is named; exchanges those that are switched on.

    Raises:
        UsageError: an unknown dataset, timeframe, mode or source, or a combination that cannot be.
    """
    if request.mode not in RUN_MODES:
        raise UsageError(one_of("mode", request.mode, RUN_MODES))
    if request.source is not None and request.source not in SOURCES:
        raise UsageError(one_of("source", request.source, SOURCES))
    for timeframe in request.timeframes:
        check_timeframe(timeframe)
    wanted = request.datasets or (("ohlcv",) if request.timeframes else tuple(DATASETS))
    datasets = tuple(dataset_named(name).name for name in dict.fromkeys(wanted))
    if request.timeframes and not any(DATASETS[name].has_timeframes for name in datasets):
        raise UsageError(f"{', '.join(datasets)} are events and have no timeframes; leave --timeframe away")
    if not has_window and (request.mode == "force" or request.source or request.check_reissued):
        raise UsageError("--mode force, --source and --check-reissued work on a window: name --start and --end")
    if not any(entry.enabled for entry in settings.exchanges.values()):
        raise UsageError("no exchange is switched on; set exchanges.<name>.enabled to true")
    enabled = tuple(name for name, entry in settings.exchanges.items() if entry.enabled)
    return replace(request, datasets=datasets, exchanges=tuple(dict.fromkeys(request.exchanges)) or enabled)
