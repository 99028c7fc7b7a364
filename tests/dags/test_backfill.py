"""Tests for the form of `backfill_market_data`, its checks, its chunks and its tasks."""

from __future__ import annotations

import argparse
import logging
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, ParamValidationError

from marketlake.cli.run_arguments import add_run_arguments, opening_of
from marketlake.errors import UsageError
from marketlake.instants import DAY, Window
from marketlake.pipeline.request import check_request
from marketlake.settings import load_settings
from marketlake_airflow.backfill_operators import (
    FetchChunkOperator,
    PlanBackfillOperator,
    SummarizeOperator,
    table,
)
from marketlake_airflow.backfill_request import backfill_params, backfill_request, chunks_of
from marketlake_airflow.plan_operator import PLAN_KEY, window_options
from tests.dags.conftest import Library, TaskInstance, context_of, instant

RUN = "backfill_market_data__scheduled__2025-01-02T01:00:00+00:00"
NOW = instant(20, 9)


def _form(**changes: Any) -> dict[str, Any]:
    """Return the form as it is submitted: defaults, changed."""
    defaults = {name: param.value for name, param in backfill_params(load_settings(environ={})).items()}
    return {**defaults, **changes}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbols", "BTC/USDT"),
        ("symbols", []),
        ("symbols", ["BTC/USDT'; drop table x"]),
        ("symbols", ["../../etc/passwd"]),
        ("symbols", ['"BTC"']),
        ("assets", [1]),
        ("timeframes", ["60"]),
        ("timeframes", ["1m", "2h"]),
        ("exchanges", ["kraken"]),
        ("datasets", ["candles"]),
        ("start", "yesterday"),
        ("start", "2025-01-01T00:00"),
        ("end", 20250101),
        ("days", 0),
        ("days", "7"),
        ("days", 100_000),
        ("mode", "everything"),
        ("force", "yes"),
        ("dry_run", 1),
    ],
)
def test_a_wrong_type_name_or_pattern_is_refused_on_submit(dags: dict[str, Any], field: str, value: object) -> None:
    param = dags["backfill_market_data"].params.get_param(field)

    with pytest.raises(ParamValidationError):
        param.resolve(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbols", ["BTC/USDT", "BTC/USDT:USDT", "BTCUSDT", "BTC-USDT", "BTC-USDT-PERP", "1000SHIB/USDT"]),
        ("assets", ["BTC/USDT"]),
        ("assets", None),
        ("start", "2025-01-01"),
        ("end", "2025-01-01T06:00:00Z"),
        ("end", "2025-01-01T06:00+02:00"),
        ("days", 30),
    ],
)
def test_every_spelling_that_is_promised_is_taken(dags: dict[str, Any], field: str, value: object) -> None:
    assert dags["backfill_market_data"].params.get_param(field).resolve(value) == value


def test_the_empty_form_means_seven_days_of_the_default_symbols_up_to_midnight() -> None:
    request = backfill_request(_form(), run_after=NOW)

    assert request.symbols == ("BTC/USDT", "ETH/USDT")
    assert request.window == Window(instant(13), instant(20))
    assert (request.mode, request.dry_run) == ("backfill", False)


def test_assets_is_another_name_for_symbols_and_force_for_its_mode() -> None:
    request = backfill_request(_form(assets=["XRP/ETH", "XRP/ETH"], force=True), run_after=NOW)

    assert request.symbols == ("XRP/ETH",)
    assert request.mode == "force"
    assert request.options()[:2] == ["--mode", "force"]


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        pytest.param({"start": "2025-01-03"}, Window(instant(3), instant(10)), id="start alone"),
        pytest.param({"start": "2025-01-18"}, Window(instant(18), instant(20)), id="start alone, not beyond today"),
        pytest.param({"end": "2025-01-10", "days": 2}, Window(instant(8), instant(10)), id="end alone"),
        pytest.param({"start": "2025-01-03", "end": "2025-01-04"}, Window(instant(3), instant(4)), id="both"),
    ],
)
def test_days_fill_in_what_is_left_empty(changes: dict[str, Any], window: Window) -> None:
    assert backfill_request(_form(**changes), run_after=NOW).window == window


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        pytest.param({"start": "2025-01-02", "end": "2025-01-02"}, "start must be before end", id="empty window"),
        pytest.param({"start": "2025-01-03", "end": "2025-01-02"}, "start must be before end", id="reversed"),
        pytest.param({"start": "2010-01-01", "end": "2025-01-01"}, "start, end: .*10 years", id="too long"),
        pytest.param({"start": "1999-01-01", "end": "2025-01-01"}, "start must not be before 2009", id="too early"),
        pytest.param({"start": "2025-02-31", "end": "2025-03-01"}, "start must be a date", id="no such day"),
        pytest.param({"symbool": ["BTC/USDT"]}, "unknown field symbool; the form has symbols", id="misspelt"),
    ],
)
def test_what_a_schema_cannot_tell_fails_naming_the_field(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        backfill_request(_form(**changes), run_after=NOW)


@pytest.mark.parametrize("datasets", [["ohlcv"], ["funding_rates"], ["ohlcv", "funding_rates"]])
def test_what_the_form_asks_is_what_the_library_takes(datasets: list[str]) -> None:
    request = backfill_request(_form(datasets=datasets, timeframes=["1h", "4h"]), run_after=NOW)
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    opening = opening_of(parser.parse_args([*window_options(request.window), *request.options()]))

    checked = check_request(opening.request, load_settings(environ={}), has_window=True)

    assert checked.datasets == tuple(datasets)
    assert checked.timeframes == (("1h", "4h") if "ohlcv" in datasets else ())


def test_a_window_is_cut_at_midnights_and_keeps_its_ends() -> None:
    window = Window(instant(1, 6), instant(3, 12))

    assert chunks_of(window) == [
        Window(instant(1, 6), instant(2)),
        Window(instant(2), instant(3)),
        Window(instant(3), instant(3, 12)),
    ]


def test_a_long_window_is_cut_at_the_first_of_each_month() -> None:
    window = Window(instant(15), instant(15) + timedelta(days=93))

    chunks = chunks_of(window)

    assert [chunk.start.day for chunk in chunks] == [15, 1, 1, 1]
    assert (chunks[0].start, chunks[-1].end) == (window.start, window.end)
    assert len(chunks_of(Window(instant(15), instant(15) + 92 * DAY))) == 92


def test_the_plan_gives_each_chunk_a_run_of_its_own(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    params = _form(start="2025-01-03", end="2025-01-05", symbols=["BTC/USDT"], timeframes=["1h"], datasets=["ohlcv"])
    context = context_of("backfill_market_data", params=params)

    chunks = _planner().execute(context)

    assert [chunk["run"] for chunk in chunks] == [f"{RUN}.20250103", f"{RUN}.20250104"]
    assert library.steps == ["open_run"]
    plan = context["ti"].pushed[PLAN_KEY]
    assert plan["window"] == {"start": "2025-01-03T00:00:00Z", "end": "2025-01-05T00:00:00Z"}
    assert "--symbol BTC/USDT --timeframe 1h" in " ".join(plan["options"])


def test_a_dry_run_shows_the_plan_and_fetches_nothing(library: Library) -> None:
    library.answer("plan_fetches", {"tasks": 1, "plan": [{"dataset": "ohlcv", "symbol": "BTC/USDT"}]})
    context = context_of("backfill_market_data", params=_form(dry_run=True))

    assert _planner().execute(context) == []
    assert library.steps == ["open_run", "plan_fetches"]
    assert "--dry-run" in library.calls[0]
    assert context["ti"].pushed[PLAN_KEY]["dry_run"] is True


def test_a_bad_form_fails_the_first_task_at_once_and_asks_nothing(library: Library) -> None:
    context = context_of("backfill_market_data", params=_form(start="2025-01-03", end="2025-01-02"))

    with pytest.raises(AirflowFailException, match="start must be before end"):
        _planner().execute(context)
    assert library.calls == []


def test_an_unknown_symbol_fails_the_first_task_at_once(library: Library) -> None:
    library.fail("open_run", "symbol must be one that binance lists; was 'NOPE/USDT'", code=2)

    with pytest.raises(AirflowFailException, match="NOPE/USDT"):
        _planner().execute(context_of("backfill_market_data", params=_form(symbols=["NOPE/USDT"])))


def test_a_chunk_opens_its_own_run_and_fetches_every_dataset(library: Library) -> None:
    fetched = _fetch(library)

    opened = " ".join(library.calls[0])
    assert opened.startswith(f"step open_run --run {RUN}.20250103 --kind backfill_market_data --parent {RUN}")
    assert "--start 2025-01-03T00:00:00Z --end 2025-01-04T00:00:00Z --mode backfill" in opened
    assert library.steps == ["open_run", "plan_fetches", "ingest", "ingest"]
    assert [item["dataset"] for item in fetched["fetched"]] == ["ohlcv", "funding_rates"]


@pytest.mark.parametrize(("is_retryable", "outcome"), [(True, AirflowException), (False, AirflowFailException)])
def test_a_dataset_that_fails_does_not_stop_the_others_of_its_chunk(
    library: Library, is_retryable: bool, outcome: type
) -> None:
    library.fail("ingest ohlcv", "binance does not answer", is_retryable=is_retryable)

    with pytest.raises(outcome, match="binance does not answer") as caught:
        _fetch(library)

    assert caught.type is outcome
    assert library.steps.count("ingest") == 2


def test_the_summary_is_shown_by_market(library: Library) -> None:
    markets = [{"dataset": "ohlcv", "symbol": "BTC/USDT", "expected": 24, "loaded": 23, "rejected": 1, "gaps": 0}]
    library.answer("summary", {"markets": markets})
    operator = SummarizeOperator(task_id="summarize", needs="plan_backfill")

    assert operator.execute(_planned({"run_id": RUN}))["markets"] == markets
    for plan in (None, {"dry_run": True}):
        with pytest.raises(AirflowSkipException):
            operator.execute(_planned(plan))


def test_a_table_is_aligned_and_of_no_rows_empty() -> None:
    assert table([{"a": 1, "b": "x"}, {"a": 100}], ["a", "b"]) == ["a    b", "1    x", "100"]
    assert table([], ["a"]) == []


def _planner() -> PlanBackfillOperator:
    return PlanBackfillOperator(task_id="plan_backfill")


def _planned(plan: Any) -> dict[str, Any]:
    return context_of("backfill_market_data", ti=TaskInstance({("plan_backfill", PLAN_KEY): plan}))


def _fetch(library: Library) -> dict[str, Any]:
    chunk = {"run": f"{RUN}.20250103", "start": "2025-01-03T00:00:00Z", "end": "2025-01-04T00:00:00Z"}
    operator = FetchChunkOperator(task_id="fetch_chunk", plan="plan_backfill", chunk=chunk)
    return operator.execute(_planned({"options": ["--mode", "backfill"]}))
