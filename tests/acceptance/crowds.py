"""Several processes at work on one lake at once, some of them killed, each repeated until it ends well."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable

from tests.acceptance.kills import Cut, killed_at, repeat_until_well
from tests.digests import delta_digests, postgres_digests
from tests.world import World

# Which request brought a row is a matter of who came first, where several ask for the same range.
BY_REQUEST = frozenset({"source_ref"})
_LETTER = ("symbol", "timeframe", "open_time", "event_time", "funding_time", "raw_payload", "dlq_reasons")


@dataclass(frozen=True)
class Actor:
    """A command line that begins so many seconds after the others and is killed so often before it may end."""

    arguments: list[str]
    starts_after: float = 0.0
    cuts: tuple[Cut, ...] = ()


def crowd_of(commands: Sequence[list[str]], seed: int, *, kills: int) -> list[Actor]:
    """Return actors that begin at random within some seconds; so many kills are dealt out among them."""
    rng = random.Random(f"crowd {seed}")
    cuts: list[list[Cut]] = [[] for _ in commands]
    for _ in range(kills):
        cuts[rng.randrange(len(commands))].append(Cut(rng.random(), whole_tree=rng.random() < 0.5))
    return [Actor(command, rng.uniform(0, 8), tuple(of)) for command, of in zip(commands, cuts, strict=True)]


def act_at_once(world: World, actors: Sequence[Actor], *, seconds: float) -> int:
    """Let all actors work on the world at once until each has ended well; return how many kills met a living process.

    `seconds` is what a run takes: kills fall within it.
    """
    with ThreadPoolExecutor(len(actors)) as pool:
        return sum(pool.map(lambda actor: _act(world, actor, seconds), actors))


def _act(world: World, actor: Actor, seconds: float) -> int:
    time.sleep(actor.starts_after)
    with ExitStack() as stack:  # what survives a kill goes on beside the repeats
        met = sum(stack.enter_context(killed_at(world, actor.arguments, cut, seconds)) for cut in actor.cuts)
        repeat_until_well(world, actor.arguments)
    return met


def layers_of(world: World, *, without: frozenset[str]) -> dict[str, Any]:
    """Return what each table of Postgres holds, as digests."""
    with world.database() as connection:
        return postgres_digests(connection, ("bronze", "silver", "gold"), without=without)


def content_of(world: World) -> dict[str, Any]:
    """Return what must be equal in every layer whoever came first: rows, dead letters, coverage, watermarks."""
    tables = delta_digests(world.root, without=BY_REQUEST)
    return {
        **{name: digest for name, digest in tables.items() if not name.endswith("_dlq")},
        **layers_of(world, without=BY_REQUEST),
        "dead letters": dead_letters(world),
        "coverage": world.rows(
            "select dataset, exchange, symbol, timeframe, range_start, range_end, state, source, cause, attempt_days"
            " from ops.coverage order by dataset, exchange, symbol, timeframe, range_start"
        ),
        "watermarks": world.rows(
            "select dataset, symbol, timeframe, high_watermark_at from ops.markets order by 1, 2, 3"
        ),
        "unfinished": world.rows(
            "select (select count(*) from ops.manifests where state <> 'loaded'),"
            " (select count(*) from ops.changes where publication_id is null),"
            " (select count(*) from ops.builds where state = 'open')"
        ),
    }


def dead_letters(world: World) -> list[str]:
    """Return the rejected rows, each once, whatever page brought it."""
    found = set[str]()
    for log in (world.root / "bronze").glob("*_dlq/_delta_log"):
        for row in DeltaTable(str(log.parent)).to_pyarrow_table().to_pylist():
            found.add(json.dumps([log.parent.name, *(str(row[name]) for name in _LETTER if name in row)]))
    return sorted(found)


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare what two worlds hold, layer by layer, so that a difference names its layer."""
    assert sorted(found) == sorted(expected)
    assert {name: value for name, value in found.items() if value != expected[name]} == {}, {
        name: value for name, value in expected.items() if value != found[name]
    }
