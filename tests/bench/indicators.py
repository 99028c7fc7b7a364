"""The indicators of a million candles in Postgres: all of them anew, and one more day."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg

from marketlake.ledger import close_build
from marketlake.publish.dbt import dbt_staging, open_full_refresh
from tests.bench.figures import Figure, median, seconds_of
from tests.world import World

MODEL = "market_data_indicators"
TABLE = f"staging.{MODEL}"
TIMES = 3


def measure(world: World, *, symbol: str, timeframe: str, next_days: tuple[tuple[str, str], ...]) -> list[Figure]:
    """Return the figures of the model that computes all indicators, beside a bare insert of rows of the same types."""
    full, bare, days = [], [], []
    run_id = world.load(symbol, timeframe, *next_days[0])["run_id"]
    with world.database() as connection:
        for _ in range(TIMES):
            open_full_refresh(connection, run_id=run_id)
            full.append(_model_seconds(world, connection, run_id))
            bare.append(_bare_insert_seconds(connection))
        row = connection.execute(f"select count(*) from {TABLE}").fetchone()  # type: ignore[arg-type]  # a constant
        assert row is not None
        for day in next_days[1:]:
            days.append(_model_seconds(world, connection, world.load(symbol, timeframe, *day)["run_id"]))
    millions = f"{row[0] / 1e6:.2f} M"
    return [
        Figure(
            f"indicators of {millions} candles anew, SQL s / bare insert … select of as many columns of the same types",
            median(full) / median(bare),
            2.5,
            "lower",
            f"{median(full):.1f} s, insert {median(bare):.1f} s; medians of {TIMES}",
        ),
        Figure(
            "indicators of one more day, SQL s / of all anew",
            median(days) / median(full),
            0.03,
            "lower",
            f"{median(days):.2f} s; median of {len(days)}",
        ),
    ]


def _model_seconds(world: World, connection: psycopg.Connection[Any], run_id: str) -> float:
    """Build staging and silver, and return the seconds that the database took for the model's statements.

    One model after another, since the insert runs alone too; a usual build resamples meanwhile.
    """
    log = world.settings.logs_folder / "dbt" / "dbt.log"
    log.unlink(missing_ok=True)
    settings = world.settings.model_copy(update={"dbt": world.settings.dbt.model_copy(update={"threads": 1})})
    dbt_staging(connection, settings, run_id=run_id)
    seconds = _sql_seconds(log)
    row = connection.execute("select build_id from ops.builds where state = 'open'").fetchone()
    assert row is not None
    close_build(connection, row[0], "merged")
    return seconds


def _sql_seconds(log: Path) -> float:
    """Add up what dbt's log says of each statement between the model's start and its end."""
    seconds, thread = 0.0, ""
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            said = re.search(r"\[(Thread[^\]]*)\]: (.*)", line)
            if said and said[2] == f"Began running node model.marketlake.{MODEL}":
                thread = said[1]
            elif said and said[2] == f"Finished running node model.marketlake.{MODEL}":
                return seconds
            elif said and said[1] == thread and (took := re.search(r"^SQL status: .* in ([\d.]+) seconds", said[2])):
                seconds += float(took[1])
    raise AssertionError(f"dbt's log does not say that it ran {MODEL}")


def _bare_insert_seconds(connection: psycopg.Connection[Any]) -> float:
    connection.execute(f"create table public.bare (like {TABLE})")  # type: ignore[arg-type]  # a constant
    insert = f"insert into public.bare select * from {TABLE}"
    seconds = seconds_of(lambda: connection.execute(insert))  # type: ignore[arg-type]  # a constant
    connection.execute("drop table public.bare")
    return seconds
