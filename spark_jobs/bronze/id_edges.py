"""Jumps in the exchange's numbers between what a load brings and what the table holds beside it (QUA-21).

Whichever of two loads comes second sees the jump. Only the rows next to the load's windows are read, and only where
the ledger says that the range on that side was answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from marketlake import ledger
from marketlake.errors import UsageError
from marketlake.instants import Window
from marketlake.lake.files import TableFiles, files_of, open_table
from marketlake.lake.reading import MarketRange, scan
from marketlake.ledger.facts import joined
from marketlake.work import Answer
from spark_jobs.bronze import ranges
from spark_jobs.bronze.context import LoadContext, LoadTask

# The nearest row beside a window is looked for in these ranges, one after the other; further away there is no edge.
REACHES = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30))
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, order=True)
class Numbered:
    """A row by the exchange's number, and when it happened."""

    number: int
    at: datetime


@dataclass(frozen=True)
class EdgeGaps:
    """Ranges of jumps: those inside the load's answers by answer number, those in settled coverage by symbol."""

    missing: Mapping[int, list[Window]] = field(default_factory=dict)
    beside: Mapping[str, list[Window]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Run:
    """Touching windows of one market, and the present coverage that ends where they begin or begins where they end."""

    symbol: str
    window: Window
    before: Window | None
    after: Window | None


# What tells series of numbers apart: symbol, and what else the dataset's key has beside the number.
Kind = tuple[str, ...]
# First and last row of an answer, by answer number and kind.
Ends = Mapping[tuple[int, Kind], tuple[Numbered, Numbered]]


def edge_gaps(context: LoadContext, task: LoadTask, rows: DataFrame, answers: Sequence[Answer]) -> EdgeGaps:
    """Return the ranges between a row of the load and its neighbour in the table whose ids do not follow each other.

    `rows` are all rows of the answers, whatever became of them; `answers` those of the load whose markets passed.
    """
    exchange = task.manifest.exchange
    if context.dataset.id_column is None:
        return EdgeGaps()
    runs = [run for run in _runs(context, exchange, answers) if run.before or run.after]
    if not runs:
        return EdgeGaps()
    try:
        table = open_table(context.root, context.dataset.table)
    except UsageError:  # what was answered so far had no rows
        return EdgeGaps()
    files = files_of(table, context.dataset.table, ["symbol", context.dataset.time_column])
    ends = _ends(context, rows)
    missing, beside = dict[int, list[Window]](), dict[str, list[Window]]()
    for run in runs:
        covered = [window for window in (run.before, run.after) if window]
        for gap in _gaps_of(context, files, exchange, run, ends=ends, answers=task.manifest.answers):
            pieces = pieces_of(gap, task.manifest.answers, run.symbol)
            rest = gap.minus([piece for _, piece in pieces])
            if any(part.minus(covered) for part in rest):
                continue
            for number, piece in pieces:
                missing.setdefault(number, []).append(piece)
            beside.setdefault(run.symbol, []).extend(rest)
    return EdgeGaps(missing, {symbol: joined(windows) for symbol, windows in beside.items() if windows})


def pieces_of(gap: Window, answers: Sequence[Answer], symbol: str) -> list[tuple[int, Window]]:
    """Return the parts of a gap that lie in the answers about a symbol, by answer number."""
    return [
        (number, both)
        for number, answer in enumerate(answers)
        if answer.market.symbol == symbol and (both := gap.overlap(answer.window))
    ]


def gap_between(left: datetime, right: datetime) -> Window:
    """Return the range between two rows, an instant where they have the same time."""
    start, end = sorted((left, right))
    return Window(start, max(end, start + INSTANT))


def _runs(context: LoadContext, exchange: str, answers: Sequence[Answer]) -> list[_Run]:
    answered = [answer for answer in answers if answer.status == "answered"]
    found = list[_Run]()
    for symbol in sorted({answer.market.symbol for answer in answered}):
        for window in joined(answer.window for answer in answered if answer.market.symbol == symbol):
            sides = (Window(window.start - REACHES[-1], window.start), Window(window.end, window.end + REACHES[-1]))
            before, after = (_present(context, exchange, symbol, side) for side in sides)
            touches_start = before[-1] if before and before[-1].end == window.start else None
            touches_end = after[0] if after and after[0].start == window.end else None
            found.append(_Run(symbol, window, touches_start, touches_end))
    return found


def _present(context: LoadContext, exchange: str, symbol: str, side: Window) -> list[Window]:
    tiles = ledger.coverage_of(context.connection, context.dataset.name, exchange, symbol, "", side)
    present = (both for tile in tiles if tile.state == "present" and (both := tile.window.overlap(side)))
    return joined(present)


def _ends(context: LoadContext, rows: DataFrame) -> Ends:
    dataset, names = context.dataset, _kinds(context)
    number = F.expr(f"try_cast({dataset.id_column} as bigint)").alias("number")
    end = F.struct("number", "us")
    found = (
        rows.select("answer_no", *names, number, F.unix_micros(dataset.time_column).alias("us"))
        .where("number is not null and us is not null")
        .groupBy("answer_no", *names)
        .agg(F.min(end).alias("first"), F.max(end).alias("last"))
        .collect()
    )
    return {
        (row["answer_no"], tuple(row[name] for name in names)): (
            Numbered(row["first"]["number"], ranges.instant(row["first"]["us"])),
            Numbered(row["last"]["number"], ranges.instant(row["last"]["us"])),
        )
        for row in found
    }


def _kinds(context: LoadContext) -> list[str]:
    """Return the key's columns that tell series of numbers apart, the symbol first."""
    others = [name for name in context.dataset.key if name not in (context.dataset.id_column, "exchange", "symbol")]
    return ["symbol", *others]


def _gaps_of(
    context: LoadContext, files: TableFiles, exchange: str, run: _Run, *, ends: Ends, answers: Sequence[Answer]
) -> list[Window]:
    own = dict[Kind, list[Numbered]]()
    for (number, kind), pair in ends.items():
        if kind[0] == run.symbol and answers[number].window.overlap(run.window):
            own.setdefault(kind, []).extend(pair)
    times = [row.at for rows in own.values() for row in rows]
    reader = _Neighbours(context, files, exchange, run)
    before = reader.before(min(times, default=run.window.start))
    after = reader.after(max(times, default=run.window.end))
    gaps = list[Window]()
    for kind in {*own, *before, *after}:
        left, mine, right = before.get(kind, []), sorted(own.get(kind, [])), after.get(kind, [])
        if not mine:
            gaps += _jumps([*left, *right]) if left and right else []
            continue
        gaps += _jumps([*(row for row in left if row < mine[0]), mine[0]]) if left else []
        gaps += _jumps([mine[-1], *(row for row in right if row > mine[-1])]) if right else []
    return gaps


def _jumps(rows: Sequence[Numbered]) -> list[Window]:
    """Return the ranges between neighbours whose numbers do not follow each other."""
    return [gap_between(a.at, b.at) for a, b in pairwise(sorted(set(rows))) if b.number > a.number + 1]


@dataclass(frozen=True)
class _Neighbours:
    """Reads the table's rows around the ends of a run: the nearest one beside it, and those up to the load's own."""

    context: LoadContext
    files: TableFiles
    exchange: str
    run: _Run

    def before(self, first: datetime) -> dict[Kind, list[Numbered]]:
        """Return, by kind, the last row before the run and those between it and `first`."""
        cover, start = self.run.before, self.run.window.start
        for reach in REACHES if cover else ():
            assert cover is not None
            window = Window(max(cover.start, start - reach), first + INSTANT)
            rows = self._read(window)
            nearest = pl.col("number").filter(pl.col("at") < start).max()
            found = _by_kind(rows.filter(pl.col("number") >= nearest.over("kind")))
            if found or window.start == cover.start:
                return found
        return {}

    def after(self, last: datetime) -> dict[Kind, list[Numbered]]:
        """Return, by kind, the first row after the run and those between `last` and it."""
        cover, end = self.run.after, self.run.window.end
        for reach in REACHES if cover else ():
            assert cover is not None
            window = Window(last, min(cover.end, end + reach))
            rows = self._read(window)
            nearest = pl.col("number").filter(pl.col("at") >= end).min()
            found = _by_kind(rows.filter(pl.col("number") <= nearest.over("kind")))
            if found or window.end == cover.end:
                return found
        return {}

    def _read(self, window: Window) -> pl.DataFrame:
        dataset, names = self.context.dataset, _kinds(self.context)
        bounds = MarketRange(self.exchange, self.run.symbol, None, window.start, window.end).bounds(dataset)
        time, number = dataset.time_column, str(dataset.id_column)
        rows = scan(self.files, dataset, bounds, list(dict.fromkeys([*names, number, time])))
        numbered = rows.select(
            pl.concat_list(names).alias("kind"), pl.col(number).cast(pl.Int64, strict=False).alias("number"),
            pl.col(time).alias("at"),
        )  # fmt: skip
        return numbered.drop_nulls().collect()


def _by_kind(rows: pl.DataFrame) -> dict[Kind, list[Numbered]]:
    found = dict[Kind, list[Numbered]]()
    for kind, number, at in rows.select("kind", "number", "at").unique().iter_rows():
        found.setdefault(tuple(kind), []).append(Numbered(number, at))
    return found
