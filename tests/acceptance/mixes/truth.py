"""What a mix's lake should hold, by the sandbox's own word, and how far what it holds is from that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from deltalake import DeltaTable

from marketlake.datasets import dataset_named
from marketlake.instants import Window, from_epoch_ms, parse_instant, to_epoch_ms
from marketlake.lake import Lake
from marketlake.lake.files import table_path
from marketlake.sandbox.disturbed import DisturbedMarket
from marketlake.sandbox.faults import Faults
from marketlake.sandbox.market import Ask
from marketlake.sandbox.tables import agg_trade_records, listing_of
from marketlake.timeframes import timeframe_length
from tests.acceptance.mixes.draws import CANDLES, FUNDING, Mix
from tests.acceptance.mixes.worlds import MARKET, MixWorld
from tests.world import World

Key = tuple[Any, ...]
Rows = Iterable[tuple[Key, tuple[Any, ...]]]
_CANDLE_VALUES = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume")
_HALF_MINUTE = timedelta(seconds=30)


@dataclass
class Score:
    """Rows by what is wrong with them, over every layer that was looked at; `rows` is how many there should be."""

    rows: int = 0
    lost: int = 0
    doubled: int = 0
    invented: int = 0
    example: str = ""

    def add(self, layer: str, found: Rows, wanted: Mapping[Key, tuple[Any, ...]]) -> None:
        """Hold the rows of a layer against the truth; a row with other values is invented, and its true one lost."""
        counts = Counter(key for key, _ in found)
        rows = dict(found)
        lost = [key for key, values in wanted.items() if rows.get(key) != values]
        invented = [key for key, values in rows.items() if wanted.get(key) != values]
        self.rows += len(wanted)
        self.lost += len(lost)
        self.invented += len(invented)
        self.note_doubled(layer, sum(count - 1 for count in counts.values()))
        for key in [*lost, *invented][:1]:
            self.example = self.example or f"{layer} {key}: {rows.get(key)}, should be {wanted.get(key)}"

    def note_doubled(self, layer: str, count: int) -> None:
        """Count rows that came twice."""
        self.doubled += count
        if count:
            self.example = self.example or f"{layer}: {count} rows are doubled"

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.invented)


def score(world: MixWorld) -> Score:
    """Hold every dataset of the mix against the truth: current rows in lake and Postgres, revisions in bronze."""
    found, mix = Score(), world.mix
    at = from_epoch_ms(world.sandbox.clock.now_ms())
    for dataset in mix.datasets:
        wanted = _truth(mix, dataset, at)
        found.add(f"lake {dataset}", _in_the_lake(world, dataset), wanted)
        found.add(f"postgres {dataset}", _in_postgres(world.world, dataset), wanted)
        found.note_doubled(f"bronze {dataset}", _repeated_revisions(world, dataset))
    return found


def rows_of_archives_since(world: MixWorld, dataset: str, since: datetime) -> int:
    """Return how many rows bronze got from archives that came at this instant or later."""
    path = table_path(world.settings.lake_root, dataset_named(dataset).table)
    if not DeltaTable.is_deltatable(path):
        return 0
    rows = DeltaTable(path).to_pyarrow_table(columns=["source", "received_at"], filters=[("source", "=", "archive")])
    return sum(received >= since for received in rows["received_at"].to_pylist())


def _truth(mix: Mix, dataset: str, at: datetime) -> dict[Key, tuple[Any, ...]]:
    window = Window(mix.window.start, min(mix.window.end, at))
    if dataset == CANDLES:
        return {key: row for timeframe in mix.timeframes for key, row in _candles(mix, timeframe, window, at)}
    return dict(_funding(mix, window, at) if dataset == FUNDING else _trades(mix, window))


def _candles(mix: Mix, timeframe: str, window: Window, at: datetime) -> Rows:
    table = MARKET.candles(mix.spot, timeframe, window.start, window.end).select(["open_time", *_CANDLE_VALUES])
    end = _end_of_life(mix, mix.spot)
    for row in table.to_pylist():
        opened = row.pop("open_time")
        if opened + timeframe_length(timeframe) <= at and opened < end:
            yield (timeframe, opened), tuple(row.values())


def _funding(mix: Mix, window: Window, at: datetime) -> Rows:
    faults = Faults()
    for fault in mix.lasting:
        faults.add(fault.name, **fault.parameters)
    market, listing = DisturbedMarket(MARKET, faults), listing_of(MARKET, mix.perpetual)
    start, last = to_epoch_ms(window.start), to_epoch_ms(window.end) - 1
    while True:
        page = market.funding(listing, Ask(to_epoch_ms(at), start, last, 1000))
        for event in page:
            yield (_minute(from_epoch_ms(event["fundingTime"])),), (Decimal(event["fundingRate"]),)
        if len(page) < 1000:
            return
        start = page[-1]["fundingTime"] + 1


def _trades(mix: Mix, window: Window) -> Rows:
    listing = listing_of(MARKET, mix.spot)
    end = min(window.end, _end_of_life(mix, mix.spot))
    fills = MARKET.fills(listing, to_epoch_ms(window.start), to_epoch_ms(end))
    for row in agg_trade_records(listing, fills):
        side = "sell" if row["m"] else "buy"
        values = (from_epoch_ms(row["T"]), Decimal(row["p"]), Decimal(row["q"]), row["f"], row["l"], side)
        yield (str(row["a"]),), values


def _end_of_life(mix: Mix, symbol: str) -> datetime:
    ends = [parse_instant(one.parameters["at"]) for one in mix.lasting if one.name == "delisting"]
    return min(ends, default=datetime.max.replace(tzinfo=mix.window.start.tzinfo))


def _in_the_lake(world: MixWorld, dataset: str) -> Rows:
    mix = world.mix
    if not DeltaTable.is_deltatable(table_path(world.settings.lake_root, dataset_named(dataset).table)):
        return []
    lake = Lake(world.world.home)
    if dataset == CANDLES:
        return [
            ((timeframe, row["open_time"]), tuple(row[name] for name in _CANDLE_VALUES))
            for timeframe in mix.timeframes
            for row in lake.candles(mix.spot, timeframe, exact=True).to_pylist()
        ]
    if dataset == FUNDING:
        rows = lake.funding_rates(mix.perpetual, exact=True).to_pylist()
        return [((row["funding_time"],), (row["funding_rate"],)) for row in rows]
    columns = "trade_id, event_time, price, amount, first_trade_id, last_trade_id, taker_side"
    return [_trade(tuple(row.values())) for row in lake.query(f"select {columns} from raw_trades").to_pylist()]


def _in_postgres(world: World, dataset: str) -> Rows:
    if dataset == CANDLES:
        rows = world.rows(f"select timeframe, open_time, {', '.join(_CANDLE_VALUES)} from bronze.ohlcv")
        return [(row[:2], row[2:]) for row in rows]
    if dataset == FUNDING:
        return [(row[:1], row[1:]) for row in world.rows("select funding_time, funding_rate from bronze.funding_rates")]
    columns = "trade_id, event_time, price, amount, first_trade_id, last_trade_id, taker_side"
    return [_trade(row) for row in world.rows(f"select {columns} from bronze.trades")]


def _trade(row: tuple[Any, ...]) -> tuple[Key, tuple[Any, ...]]:
    """A trade to the millisecond, which is all that REST tells."""
    instant = row[1].replace(microsecond=row[1].microsecond // 1000 * 1000)
    return (row[0],), (instant, *row[2:])


def _repeated_revisions(world: MixWorld, dataset: str) -> int:
    """How many rows of bronze repeat their key, source and revision, or the values of the revision before them."""
    path = table_path(world.settings.lake_root, dataset_named(dataset).table)
    if not DeltaTable.is_deltatable(path):
        return 0
    columns = [*dataset_named(dataset).key, "source", "revision", "digest", "is_retracted"]
    rows = DeltaTable(path).to_pyarrow_table(columns=columns).to_pylist()
    seen = sorted(tuple(map(str, list(row.values())[:-3])) + tuple(row.values())[-3:] for row in rows)
    return sum(
        one[:-2] == next_[:-2] or (one[:-3] == next_[:-3] and one[-2:] == next_[-2:]) for one, next_ in pairwise(seen)
    )


def _minute(instant: datetime) -> datetime:
    return (instant + _HALF_MINUTE).replace(second=0, microsecond=0)
