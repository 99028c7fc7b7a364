"""Tests for the order in which ``marketlake.fetch.rebuild_tasks`` reads trades."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from marketlake.fetch.rebuild_tasks import in_order

AT = datetime(2025, 1, 1, tzinfo=UTC)


def trades(*rows: tuple[str, int]) -> pl.DataFrame:
    """Trades of (id, microseconds after `AT`)."""
    return pl.DataFrame(
        [(name, AT + timedelta(microseconds=offset)) for name, offset in rows], ["trade_id", "event_time"], orient="row"
    )


def test_ids_decide_where_one_source_cut_the_instant_to_its_millisecond() -> None:
    # 9 came from an archive, 10 from REST: both happened 1.4 ms after the start, 9 first.
    assert in_order(trades(("10", 1000), ("9", 1400)))["trade_id"].to_list() == ["9", "10"]


def test_instants_decide_where_an_id_is_no_number() -> None:
    assert in_order(trades(("a-1", 2000), ("7", 1000), ("b", 0)))["trade_id"].to_list() == ["b", "7", "a-1"]
