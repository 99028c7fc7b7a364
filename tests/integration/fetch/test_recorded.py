"""The recorded exchange, fetched whole: every row once, archives and REST equal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from marketlake.instants import Window, parse_instant
from marketlake.timeframes import holes
from marketlake.work import Market
from tests.integration.fetch.world import BTC, World, archive_task, rest_task, window

FIL = Market("perpetual", "FIL/USDT:USDT", "FILUSDT")
VALUES = ["open_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "reported_close_time"]


def test_an_outage_is_a_hole_and_the_candle_before_it_is_kept(recorded_world: World) -> None:
    march = window("2023-03-01", "2023-04-01")

    [answer] = recorded_world.manifest(recorded_world.fetch([rest_task(over=march)])).answers

    rows = recorded_world.rows(answer)
    opened = rows["open_time"].to_pylist()
    assert len(opened) == len(set(opened)) == 743
    assert holes(march, "1h", opened) == [window("2023-03-24T13:00:00Z", "2023-03-24T14:00:00Z")]
    early = rows.filter(pc.equal(rows["open_time"], pa.scalar(parse_instant("2023-03-24T12:00:00Z")))).to_pylist()
    assert [(row["volume"], row["reported_close_time"]) for row in early] == [
        ("0.00000000", datetime(2023, 3, 24, 12, 39, 41, 646000, tzinfo=UTC))
    ]


def test_archives_and_rest_agree_in_all_common_hours_across_the_switch_of_units(recorded_world: World) -> None:
    months = ["2024-11", "2024-12", "2025-01", "2025-02", "2025-03", "2025-04", "2025-05"]
    tasks = [archive_task(start=f"{month}-01", period="monthly") for month in months]
    rest = rest_task(over=window("2024-11-01", "2025-06-01"))

    *by_archive, by_rest = recorded_world.manifest(recorded_world.fetch([*tasks, rest])).answers

    archived = pa.concat_tables([recorded_world.rows(answer) for answer in by_archive]).select(VALUES)
    asked = recorded_world.rows(by_rest).select(VALUES)
    assert archived.num_rows == 5088
    assert archived.equals(asked)


def test_all_recorded_archives_hold_their_rows(recorded_world: World) -> None:
    spot = ["2024-11", "2024-12", "2025-01", "2025-02", "2025-03", "2025-04", "2025-05"]
    futures = ["2023-08", "2023-09", "2023-10", "2023-11"]
    tasks = [archive_task(start=f"{month}-01", period="monthly") for month in spot]
    tasks += [archive_task(FIL, "1m", start=f"{month}-01", period="monthly") for month in futures]

    summary = recorded_world.fetch(tasks)

    answers = recorded_world.manifest(summary).answers
    assert [file.checksum_status for answer in answers for file in answer.files] == ["verified"] * 11
    assert sum(recorded_world.rows(answer).num_rows for answer in answers) == 180_768


@pytest.mark.parametrize(
    ("symbol", "first", "events", "late"),
    [("BTC", "2022-01-01", 4188, 31), ("ETH", "2023-01-01", 1498, 29), ("XRP", "2021-11-18", 91, 19)],
)
def test_funding_events_arrive_once_with_their_exact_instants(
    recorded_world: World, symbol: str, first: str, events: int, late: int
) -> None:
    market = Market("perpetual", f"{symbol}/USDT:USDT", f"{symbol}USDT")
    task = rest_task(market, "", over=window(first, "2026-01-01"), dataset="funding_rates")

    [answer] = recorded_world.manifest(recorded_world.fetch([task], dataset="funding_rates")).answers

    instants = recorded_world.rows(answer, "funding_rates")["funding_time_raw"].to_pylist()
    minutes = {(instant + timedelta(seconds=30)).replace(second=0, microsecond=0) for instant in instants}
    assert len(instants) == len(minutes) == events
    lateness = [instant - instant.replace(second=0, microsecond=0) for instant in instants]
    assert max(lateness) == timedelta(milliseconds=late)


def test_years_of_hours_come_in_full_pages(recorded_world: World) -> None:
    start = parse_instant("2022-01-01")
    over = Window(start, parse_instant("2026-04-30T04:00:00Z"))

    [answer] = recorded_world.manifest(recorded_world.fetch([rest_task(BTC, over=over)])).answers

    assert recorded_world.rows(answer).num_rows == 37_923
    # The page that the outage cuts short is no end, and what comes after it is asked for from there.
    assert len(recorded_world.data_requests()) == -(-37_924 // 1000)
