"""Work that earlier runs left: it comes before anything is fetched, and nothing that it holds is fetched again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from marketlake.instants import OffsetClock, Window
from marketlake.landing import readable_manifests, sealed_manifests
from marketlake.ledger import (
    built_until,
    changes_unpublished,
    manifests_found_until,
    manifests_refused,
    manifests_waiting,
    newest_publication,
    registered_manifest,
    registered_paths,
)
from marketlake.work import Manifest

# Between the writing of a manifest and its registration lie moments; clocks of several machines differ by more.
_SEALING_TAKES = timedelta(hours=1)


@dataclass(frozen=True)
class Unfinished:
    """What is left to do before and beside this run's own fetches.

    `sealed`: manifests on disk that the ledger does not know. `waiting`: registered and not judged. `refused`: judged
    again on request, those of the run's window. `changes`: ranges to publish. `publications`: published, not built.
    `looked_at`: the machine's instant at which all this was looked for.
    """

    sealed: tuple[tuple[Manifest, Path], ...] = ()
    waiting: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    changes: int = 0
    publications: int = 0
    looked_at: datetime | None = None

    def summary(self) -> dict[str, int]:
        """Return the counts under the names of the fields."""
        return {
            "sealed": len(self.sealed),
            "waiting": len(self.waiting),
            "refused": len(self.refused),
            "changes": self.changes,
            "publications": self.publications,
        }


def find_unfinished(connection: psycopg.Connection, lake_root: str, *, window: Window | None) -> Unfinished:
    """Return what earlier runs left in the landing area, the ledger and the publication queue."""
    looked_at = OffsetClock().now()
    return Unfinished(
        sealed=tuple(_unregistered(connection, lake_root)),
        waiting=tuple(row.manifest_id for row in manifests_waiting(connection)),
        refused=tuple(row.manifest_id for row in manifests_refused(connection, window=window)),
        changes=len(changes_unpublished(connection)),
        publications=max(0, newest_publication(connection) - built_until(connection)),
        looked_at=looked_at,
    )


def answered_by(sealed: Sequence[tuple[Manifest, Path]], market: tuple[str, str, str, str]) -> list[Window]:
    """Return the windows of one series that these manifests hold answers for."""
    dataset, exchange, symbol, timeframe = market
    return [
        answer.window
        for manifest, _ in sealed
        if (manifest.dataset, manifest.exchange) == (dataset, exchange)
        for answer in manifest.answers
        if (answer.market.symbol, answer.timeframe, answer.status) == (symbol, timeframe, "answered")
    ]


def _unregistered(connection: psycopg.Connection, lake_root: str) -> list[tuple[Manifest, Path]]:
    known_until = manifests_found_until(connection)
    since = known_until - _SEALING_TAKES if known_until else None
    known = {Path(path).parts[-4:] for path in registered_paths(connection, since=since)}
    unknown = [path for path in sealed_manifests(lake_root, since=since) if path.parts[-4:] not in known]
    return [
        (manifest, path)
        for manifest, path in readable_manifests(unknown)
        if registered_manifest(connection, manifest.manifest_id) is None
    ]
