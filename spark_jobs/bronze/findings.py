"""What a load tells the ledger beside its rows: facts, agreements, disagreements, changed ranges, archives."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from marketlake import ledger
from marketlake.datasets import SOURCE_PRECEDENCE, ColumnType
from marketlake.datasets import Column as DatasetColumn
from marketlake.exchanges.registry import exchange_named
from marketlake.instants import DAY, EARLIEST, Window, ceil_instant, floor_instant, parse_instant
from marketlake.ledger import Agreement, Change, Disagreement, Fact, LoadedArchive
from marketlake.work import Answer
from spark_jobs.bronze import ranges
from spark_jobs.bronze.context import LoadContext, LoadTask
from spark_jobs.bronze.ranges import NONE, Times
from spark_jobs.bronze.revisions import comparable

MOST_DISAGREEMENTS = 10_000
_log = logging.getLogger("marketlake.load")


@dataclass(frozen=True)
class Keys:
    """Key times by answer number: of accepted rows, of rejected ones, of those that changed bronze.

    `withdrawn` are the accepted ones that their source retracted later. `retracted` are ranges by (symbol, timeframe,
    source) of which the source's newest word is a retraction, by this load or an earlier one. `missing` are the ranges,
    by answer number, in which the exchange's ids jump; `reopened` those by symbol in which earlier loads left some out.
    """

    accepted: Mapping[int, Times] = field(default_factory=dict)
    rejected: Mapping[int, Times] = field(default_factory=dict)
    changed: Mapping[int, Times] = field(default_factory=dict)
    withdrawn: Mapping[int, Times] = field(default_factory=dict)
    retracted: Mapping[tuple[str, str, str], list[Window]] = field(default_factory=dict)
    missing: Mapping[int, list[Window]] = field(default_factory=dict)
    reopened: Mapping[str, list[Window]] = field(default_factory=dict)

    def agreed(self, answer_no: int) -> Times:
        """Return the times whose rows told nothing new."""
        known = ranges.without(self.accepted.get(answer_no, NONE), self.changed.get(answer_no, NONE))
        return ranges.without(known, self.withdrawn.get(answer_no, NONE))


def with_withdrawn(keys: Keys, withdrawn: Mapping[int, Times], answers: Sequence[Answer]) -> Keys:
    """Return the keys with the accepted times, by answer number, that their source retracted later."""
    retracted = {market: list(windows) for market, windows in keys.retracted.items()}
    for number, times in withdrawn.items():
        answer = answers[number]
        windows = ranges.ranges(times, ranges.step_of(answer.timeframe))
        retracted.setdefault((answer.market.symbol, answer.timeframe, answer.source), []).extend(windows)
    return replace(keys, withdrawn=withdrawn, retracted=retracted)


def facts(context: LoadContext, task: LoadTask, keys: Keys, refused: Sequence[str]) -> tuple[Fact, ...]:
    """Return the facts that tile the windows of all answers; those of refused markets are failed."""
    found = list[Fact]()
    exchange, dataset = task.manifest.exchange, context.dataset
    omits = exchange_named(exchange).capabilities.omits_empty_candles
    for number, answer in enumerate(task.manifest.answers):
        if answer.market.symbol in refused:
            found += ledger.facts_of_refusal(answer, exchange=exchange, dataset=dataset, now=task.manifest.now)
            continue
        step = ranges.step_of(answer.timeframe)
        found += ledger.facts_of_answer(
            answer,
            ranges.ranges(keys.accepted.get(number, NONE), step) if dataset.has_timeframes else [],
            ranges.ranges(_rejected_alone(keys, number, step if dataset.has_timeframes else None), step),
            missing=keys.missing.get(number, []),
            exchange=exchange,
            dataset=dataset,
            now=task.manifest.now,
            calendar=context.calendar,
            # Trades that cover a candle and are none explain it; a source that leaves such candles out does so itself.
            omits_empty_candles=omits or answer.source == "rebuilt",
            attempts_before_unfillable=context.settings.quality.attempts_before_unfillable,
            rules_version=context.rules.version,
        )
    for (symbol, timeframe, source), windows in keys.retracted.items():
        found += ledger.facts_of_retraction(
            windows, exchange=exchange, dataset=dataset, symbol=symbol, timeframe=timeframe, source=source
        )
    return (*found, *_reopened(context, task, keys))


def agreements(context: LoadContext, task: LoadTask, keys: Keys) -> tuple[Agreement, ...]:
    """Return, per answer, the ranges in which its source said what we had."""
    return tuple(
        Agreement(
            context.dataset.name,
            task.manifest.exchange,
            answer.market.symbol,
            answer.timeframe,
            answer.source,
            window,
            answer.received_at,
        )
        for number, answer in enumerate(task.manifest.answers)
        for window in ranges.ranges(
            keys.agreed(number), ranges.step_of(answer.timeframe), bridge=_agreement_bridge(answer)
        )
    )


def changes(context: LoadContext, task: LoadTask, keys: Keys, refused: Sequence[str]) -> tuple[Change, ...]:
    """Return the ranges that have to be published: new rows, and days of which only the counts changed."""
    by_market, dataset = dict[tuple[str, str], list[Window]](), context.dataset
    for number, answer in enumerate(task.manifest.answers):
        if answer.status != "answered" or answer.market.symbol in refused:
            continue
        step = ranges.step_of(answer.timeframe)
        # A retry may follow a load that committed and never told: what it accepts is published, changed or not.
        new = keys.accepted if task.is_retry else keys.changed
        times = ranges.merged([new.get(number, NONE), keys.rejected.get(number, NONE)])
        windows = by_market.setdefault((answer.market.symbol, answer.timeframe), [])
        windows += ranges.ranges(times, step, bridge=DAY)
        windows += _never_covered(context, task, answer)
        if not dataset.has_timeframes:
            # An archive may state the same event some microseconds before or after: whole minutes hold both.
            windows[:] = [Window(floor_instant(w.start, step), ceil_instant(w.end, step)) for w in windows]
    for (symbol, timeframe, _), gone in keys.retracted.items():
        by_market.setdefault((symbol, timeframe), []).extend(gone)
    return tuple(
        Change(context.dataset.name, task.manifest.exchange, symbol, timeframe, window)
        for (symbol, timeframe), windows in by_market.items()
        for window in _joined(windows)
    )


def disagreements(observed: DataFrame, context: LoadContext, task: LoadTask) -> tuple[Disagreement, ...]:
    """Return where changed rows differ from another source's in a required value (ING-18)."""
    dataset = context.dataset
    compared = [column for column in dataset.value_columns if not column.is_nullable]
    timeframe = F.col("timeframe") if dataset.has_timeframes else F.lit("")
    differs = observed.where("is_disputed").select(
        "symbol",
        timeframe.alias("timeframe"),
        F.unix_micros(dataset.time_column).alias("us"),
        "source",
        F.col("other.source").alias("other_source"),
        F.explode(
            F.array(
                *(
                    F.struct(
                        F.lit(column.name).alias("field"),
                        _exact(column, column.name).alias("value"),
                        _exact(column, f"other.{column.name}").alias("other_value"),
                    )
                    for column in compared
                )
            )
        ).alias("pair"),
    )
    rows = differs.where("pair.value <> pair.other_value").limit(MOST_DISAGREEMENTS + 1).collect()
    if len(rows) > MOST_DISAGREEMENTS:
        rows = rows[:MOST_DISAGREEMENTS]
        _log.warning(
            "%s: sources differ in more than %s values; so many are recorded in ops.source_disagreements, bronze has"
            " the rows of both sources",
            task.name,
            f"{MOST_DISAGREEMENTS:,}",
        )
    return tuple(
        Disagreement(
            dataset.name,
            task.manifest.exchange,
            row["symbol"],
            row["timeframe"],
            ranges.instant(row["us"]),
            row["pair"]["field"],
            row["source"],
            row["pair"]["value"],
            row["other_source"],
            row["pair"]["other_value"],
            min((row["source"], row["other_source"]), key=SOURCE_PRECEDENCE.index),
        )
        for row in rows
    )


def archives(
    context: LoadContext, task: LoadTask, keys: Keys, refused: Sequence[str], *, known_at: datetime
) -> tuple[LoadedArchive, ...]:
    """Return what the loaded archives held."""
    exchange = context.settings.exchanges.get(task.manifest.exchange)
    first_instant = parse_instant(exchange.first_instant) if exchange else EARLIEST
    found = list[LoadedArchive]()
    for number, answer in enumerate(task.manifest.answers):
        if answer.source != "archive" or answer.market.symbol in refused:
            continue
        times = ranges.merged([keys.accepted.get(number, NONE), keys.rejected.get(number, NONE)])
        first, last = ranges.instants_of(times)
        since, until = _left_out(answer, first_instant)
        found += [
            LoadedArchive(file.source_ref, file.sha256, int(times.size), first, last, known_at, since, until)
            for file in answer.files
        ]
    return tuple(found)


def _reopened(context: LoadContext, task: LoadTask, keys: Keys) -> Iterator[Fact]:
    settles_after, now = context.settings.quality.attempts_before_unfillable, task.manifest.now
    for symbol, windows in keys.reopened.items():
        market = (context.dataset.name, task.manifest.exchange, symbol, "")
        for window in windows:
            for tile in ledger.coverage_of(context.connection, *market, window):
                if tile.state == "present" and (part := tile.window.overlap(window)):
                    yield from ledger.facts_of_id_jump(tile, part, market, now=now, settles_after=settles_after)


def _left_out(answer: Answer, first_instant: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the bounds outside of which rows of the archive were left out; None where its market has none."""
    window, market = answer.window, answer.market
    is_from_start = window.start <= max(first_instant, market.listed_at or first_instant)
    is_to_end = market.delisted_at is not None and window.end >= market.delisted_at
    return (None if is_from_start else window.start), (None if is_to_end else window.end)


def _rejected_alone(keys: Keys, number: int, step: timedelta | None) -> Times:
    """Return the times of rejected rows without accepted ones; with a step, those on its grid.

    A candle off the grid does not say which one it should have been, so it explains no hole.
    """
    rejected = ranges.without(keys.rejected.get(number, NONE), keys.accepted.get(number, NONE))
    return ranges.on_grid(rejected, step) if step else rejected


def _agreement_bridge(answer: Answer) -> timedelta | None:
    # Events are hours apart; between two that agree there is nothing to disagree about.
    return None if answer.timeframe else DAY


def _never_covered(context: LoadContext, task: LoadTask, answer: Answer) -> list[Window]:
    """Return the parts of the answer's window that nobody had answered yet: their days are counted from now on."""
    tiles = ledger.coverage_of(
        context.connection,
        context.dataset.name,
        task.manifest.exchange,
        answer.market.symbol,
        answer.timeframe,
        answer.window,
    )
    return answer.window.minus([tile.window for tile in tiles if tile.state != "failed"])


def _joined(windows: Sequence[Window]) -> list[Window]:
    result = list[Window]()
    for window in sorted(windows):
        if result and window.start - result[-1].end <= DAY:
            result[-1] = Window(result[-1].start, max(result[-1].end, window.end))
        else:
            result.append(window)
    return result


def _exact(column: DatasetColumn, name: str) -> Column:
    written = comparable(name, column).cast("string")
    if column.type is not ColumnType.DECIMAL:
        return written
    return F.rtrim(F.rtrim(written, F.lit("0")), F.lit("."))
