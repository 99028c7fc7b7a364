"""Set a lake up, start Airflow and let it load three days, from the exchange to gold; then show what there is.

The market is the real exchange where it can be reached, else a made-up one on this machine; a lake stays with the
market that it began with. Airflow goes on running afterwards; `marketlake down` stops everything.

Examples:
  marketlake demo
  MARKETLAKE_DEMO_MARKET=synthetic:11 marketlake demo
  MARKETLAKE_DEMO_MARKET=recorded:../shared/data marketlake demo
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from marketlake.cli.airflow_server import AirflowServer, start_airflow
from marketlake.cli.demo_market import DemoMarket, choose_market, today
from marketlake.cli.demo_runs import DAILY, DayRun, ask_for_days, failed_tasks, follow, last_days, wait_for_dag
from marketlake.cli.demo_runs import window_of_days as window_of
from marketlake.cli.demo_view import Progress
from marketlake.cli.output import Output
from marketlake.settings import Settings, load_settings

MARKET_VARIABLE = "MARKETLAKE_DEMO_MARKET"
# DAGs begin paused: the demo lets the daily one go when its days are asked for, the others are the user's to start.
_PAUSED = {"MARKETLAKE__ORCHESTRATION__SCHEDULER_ENABLED": "false"}
_DAYS = 3
_AT_ONCE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--market",
        default=os.environ.get(MARKET_VARIABLE) or "auto",
        help=f"auto, live, synthetic:<seed> or recorded:<folder> (default {MARKET_VARIABLE}, else auto)",
    )


def execute(arguments: argparse.Namespace, out: Output) -> int:
    """Run the demo; 1 where a day's run failed."""
    started = time.monotonic()
    settings = load_settings()
    market = _open_market(settings, arguments.market, out)
    settings = load_settings(environ={**os.environ, **market.variables})
    server = start_airflow(settings, say=_clocked(out, started), overrides={**_PAUSED, **market.variables})
    user = f"user admin, password {server.password}"
    out.say(f"Airflow is up after {time.monotonic() - started:.0f} s: {server.url}  ({user})")
    days = last_days(today(market), _DAYS)
    runs = _run_days(server, days, out)
    document = _summarize(settings, runs, days, out)
    failed = _show_failures(server, runs, out)
    seconds = time.monotonic() - started
    out.document({**document, "market": market.name, "seconds": round(seconds, 1), "failed": failed, "url": server.url})
    _show_addresses(server, market, seconds, out)
    return 1 if failed else 0


def _open_market(settings: Settings, wanted: str, out: Output) -> DemoMarket:
    from marketlake.ledger import connect, lake_market

    with connect(settings) as connection:
        known = lake_market(connection)
    market = choose_market(settings, wanted=wanted, known=known)
    what = "the real Binance" if market.is_live else f"the sandbox exchange on this machine, {market.name}"
    out.say(f"Market: {what}, because {market.why}.")
    return market


def _run_days(server: AirflowServer, days: Sequence[datetime], out: Output) -> list[DayRun]:
    api = server.api()
    wait_for_dag(api)
    ask_for_days(api, days, at_once=_AT_ONCE)
    out.say(f"Airflow runs {DAILY} for {days[0]:%Y-%m-%d} … {days[-1]:%Y-%m-%d} (UTC days), as a backfill.")
    try:
        with Progress(quiet=out.as_json) as progress:
            return follow(api, days, show=progress)
    except KeyboardInterrupt:
        out.say("Airflow goes on without us; `make demo` follows it again, `make down` stops it.")
        raise


def _summarize(settings: Settings, runs: Sequence[DayRun], days: Sequence[datetime], out: Output) -> dict[str, object]:
    from marketlake.cli.demo_summary import demo_summary, show_demo_summary
    from marketlake.ledger import connect
    from marketlake.pipeline.opening import known_run

    labels = {_library_id(run): f"{run.day:%Y-%m-%d}" for run in runs if run.run_id}
    with connect(settings) as connection:
        run_ids = [run_id for run_id in labels if known_run(connection, run_id) is not None]
        if not run_ids:
            return {"run_ids": []}
        document = demo_summary(settings, connection, run_ids, window_of(days))
    out.say()
    show_demo_summary(out, document, labels)
    return document


def _show_failures(server: AirflowServer, runs: Sequence[DayRun], out: Output) -> list[str]:
    failed = list[str]()
    for run in runs:
        tasks = [f"{run.day:%Y-%m-%d} {name}" for name in failed_tasks(run)]
        if run.state == "failed":
            failed += tasks
        for text in tasks:
            harm = "" if run.state == "failed" else "; the day's data is complete without it"
            out.say(f"Failed: {text}{harm}. Its log: {server.url}/dags/{DAILY}/runs/{run.run_id}")
    return failed


def _show_addresses(server: AirflowServer, market: DemoMarket, seconds: float, out: Output) -> None:
    out.say(f"Done in {seconds:.0f} s on {'the real Binance' if market.is_live else market.name}. Look on:")
    sandbox = f"{market.url}  (the sandbox; commands that need it start it again)"
    for text, address in (
        *([] if market.is_live else [("exchange", sandbox)]),
        ("Airflow", f"{server.url}  (user admin, password {server.password})"),
        ("dbt docs", f"{server.url}/marketlake/dbt/"),
        ("data docs", f"{server.url}/marketlake/data_docs/"),
        ("SQL", 'bin/marketlake sql "select * from raw_market_data_1h order by open_time desc limit 5"'),
        ("stop", "make down"),
    ):
        out.say(f"  {text:<10} {address}")


def _library_id(run: DayRun) -> str:
    # As marketlake_airflow.run_id makes it.
    return re.sub(r"[^A-Za-z0-9_.:+-]", "_", f"{DAILY}__{run.run_id}")


def _clocked(out: Output, started: float) -> Callable[[str], None]:
    return lambda text: out.say(f"{time.monotonic() - started:6.1f} s  {text}")
