"""What a load tells the ledger beside its rows: facts, agreements, disagreements, changed ranges, archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from marketlake import ledger
from marketlake.datasets import SOURCE_PRECEDENCE
from marketlake.exchanges.registry import exchange_named
from marketlake.instants import DAY, Window
from marketlake.ledger import Agreement, Change, Disagreement, Fact, LoadedArchive
from marketlake.work import Answer
from spark_jobs.bronze import ranges
from spark_jobs.bronze.context import LoadContext, LoadTask
from spark_jobs.bronze.ranges import NONE, Times

MOST_DISAGREEMENTS = 10_000


@dataclass(frozen=True)
class Keys:
    """Key times by answer number: of accepted rows, of rejected ones, and of those that changed bronze.

    `retracted` are ranges by (symbol, timeframe, source).
    """

    accepted: Mapping[int, Times] = field(default_factory=dict)
    rejected: Mapping[int, Times] = field(default_factory=dict)
    changed: Mapping[int, Times] = field(default_factory=dict)
    retracted: Mapping[tuple[str, str, str], list[Window]] = field(default_factory=dict)

    def agreed(self, answer_no: int) -> Times:
        """Return the times whose rows told nothing new."""
        return ranges.without(self.accepted.get(answer_no, NONE), self.changed.get(answer_no, NONE))


def facts(context: LoadContext, task: LoadTask, keys: Keys, refused: Sequence[str]) -> tuple[Fact, ...]:
    """Return the facts that tile the windows of all answers; those of refused markets are failed."""
    found = list[Fact]()
    exchange, dataset = task.manifest.exchange, context.dataset
    omits = exchange_named(exchange).capabilities.omits_empty_candles
    for number, answer in enumerate(task.manifest.answers):
        if answer.market.symbol in refused:
            found += ledger.facts_of_refusal(answer, exchange=exchange, dataset=dataset)
            continue
        step = ranges.step_of(answer.timeframe)
        found += ledger.facts_of_answer(
            answer,
            ranges.ranges(keys.accepted.get(number, NONE), step) if dataset.has_timeframes else [],
            ranges.ranges(_rejected_alone(keys, number), step),
            exchange=exchange,
            dataset=dataset,
            now=task.manifest.now,
            calendar=context.calendar,
            omits_empty_candles=omits,
            attempts_before_unfillable=context.settings.quality.attempts_before_unfillable,
            rules_version=context.rules.version,
        )
    for (symbol, timeframe, source), windows in keys.retracted.items():
        found += ledger.facts_of_retraction(
            windows, exchange=exchange, dataset=dataset, symbol=symbol, timeframe=timeframe, source=source
        )
    return tuple(found)


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
    by_market = dict[tuple[str, str], list[Window]]()
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
    if "other" not in observed.columns:
        return ()
    compared = [column.name for column in dataset.value_columns if not column.is_nullable]
    timeframe = F.col("timeframe") if dataset.has_timeframes else F.lit("")
    differs = observed.where("is_changed and other is not null and not other.is_retracted").select(
        "symbol",
        timeframe.alias("timeframe"),
        F.unix_micros(dataset.time_column).alias("us"),
        "source",
        F.col("other.source").alias("other_source"),
        F.explode(
            F.array(
                *(
                    F.struct(
                        F.lit(name).alias("field"),
                        _exact(f"{name}").alias("value"),
                        _exact(f"other.{name}").alias("other_value"),
                    )
                    for name in compared
                )
            )
        ).alias("pair"),
    )
    rows = differs.where("pair.value <> pair.other_value").limit(MOST_DISAGREEMENTS).collect()
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


def archives(task: LoadTask, keys: Keys, refused: Sequence[str], *, known_at: datetime) -> tuple[LoadedArchive, ...]:
    """Return what the loaded archives held."""
    found = list[LoadedArchive]()
    for number, answer in enumerate(task.manifest.answers):
        if answer.source != "archive" or answer.market.symbol in refused:
            continue
        times = ranges.merged([keys.accepted.get(number, NONE), keys.rejected.get(number, NONE)])
        first, last = ranges.instants_of(times)
        found += [
            LoadedArchive(file.source_ref, file.sha256, int(times.size), first, last, known_at) for file in answer.files
        ]
    return tuple(found)


def _rejected_alone(keys: Keys, number: int) -> Times:
    return ranges.without(keys.rejected.get(number, NONE), keys.accepted.get(number, NONE))


def _agreement_bridge(answer: Answer) -> timedelta | None:
    # Events are hours apart; between two that agree there is nothing to disagree about.
    return None if answer.timeframe else DAY


def _never_covered(context: LoadContext, task: LoadTask, answer: Answer) -> list[Window]:
    """Return the parts of the answer's window of which the ledger knew nothing: their days are counted from now on."""
    tiles = ledger.coverage_of(
        context.connection,
        context.dataset.name,
        task.manifest.exchange,
        answer.market.symbol,
        answer.timeframe,
        answer.window,
    )
    return answer.window.minus([tile.window for tile in tiles])


def _joined(windows: Sequence[Window]) -> list[Window]:
    result = list[Window]()
    for window in sorted(windows):
        if result and window.start - result[-1].end <= DAY:
            result[-1] = Window(result[-1].start, max(result[-1].end, window.end))
        else:
            result.append(window)
    return result


def _exact(name: str) -> Column:
    return F.expr(f"trim(trailing '.' from trim(trailing '0' from cast({name} as string)))")
