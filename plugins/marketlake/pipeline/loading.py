"""The steps around the load: one Spark job that drains every sealed manifest waiting, and its verdicts read back."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from marketlake.errors import MarketlakeError, QualityError, SetupError
from marketlake.ledger import ManifestRow, MarketVerdict, manifests_waiting, tasks_of, verdicts_of
from marketlake.pipeline.call import StepCall
from marketlake.pipeline.damaged import damages
from marketlake.pipeline.refused import judge_again, refusals

LOAD_JOB = "spark_jobs/bronze/load.py"
# From about this many candles on that Spark itself has to compare, the optimising compiler pays for its warm-up.
_COMPARED_ROWS = 500_000
_STOP_SECONDS = 15
_STANDARD_ERROR = 2
_LOG = logging.getLogger(__name__)


def load_bronze(call: StepCall) -> dict[str, Any]:
    """Judge and load every waiting manifest, of all runs; no JVM is started where none waits.

    What the run itself was refused before is judged again; by hand, what was refused inside the run's window.

    Raises:
        MarketlakeError: the job ended with an error; manifests that it did not judge still wait.
    """
    again = judge_again(call)
    waiting = manifests_waiting(call.connection)
    if not waiting:
        return {"manifests": 0, "judged_again": 0}
    _LOG.info("loading %d manifest(s)%s", len(waiting), f", {again} of them judged again" if again else "")
    run_spark_job(call, LOAD_JOB, is_bulk=_compares_many(call, waiting))
    left = manifests_waiting(call.connection)
    still = {row.manifest_id for row in left} & {row.manifest_id for row in waiting}
    return {"manifests": len(waiting) - len(still), "judged_again": again}


def prepare_load(call: StepCall) -> dict[str, Any]:
    """Do what comes before a load that runs elsewhere: judge again as `load_bronze` does, and count what waits."""
    again = judge_again(call)
    return {"waiting": len(manifests_waiting(call.connection)), "judged_again": again}


def run_spark_job(call: StepCall, job: str, *, is_bulk: bool = False) -> None:
    """Run a Spark job of this run as a process of its own; its output goes to standard error.

    Raises:
        SetupError: it cannot be started.
        MarketlakeError: it ended with an error.
    """
    from marketlake.spark_submit import spark_submit_command

    command, environ = spark_submit_command(call.settings, job, ["--run", call.run.run_id], is_bulk=is_bulk)
    sys.stderr.flush()
    try:
        process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=_STANDARD_ERROR)
    except OSError as error:
        raise SetupError(f"{command[0]} cannot be started: {error.strerror}; run make setup") from None
    try:
        code = process.wait()
    finally:
        _end(process)
    if code:
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise MarketlakeError(
            f"the Spark job {job} {ending}; its last lines are above. What it had not committed still waits:"
            " run the same command again, or clear load_bronze"
        )


def validate_data_quality(call: StepCall) -> dict[str, Any]:
    """Read the verdicts of the run's loads and say which markets and manifests were refused or are damaged.

    `loaded` lists, per dataset that got rows, its range and rows.

    Raises:
        QualityError: something was refused and `quality.stop_on_refused` is set.
    """
    verdicts = [asdict(verdict) for verdict in verdicts_of_run(call)]
    refused = [*refusals(call), *(damage.sentence for damage in damages(call) if damage.is_open)]
    if refused and call.settings.quality.stop_on_refused:
        raise QualityError("\n".join([*refused, "quality.stop_on_refused is set, so nothing downstream runs"]))
    for sentence in refused:
        _LOG.warning("%s", sentence)
    return {"verdicts": verdicts, "refused": refused, "loaded": loaded_ranges(call), "data_docs": data_docs(call)}


def data_docs(call: StepCall) -> list[str]:
    """Return the pages of the data docs that the audits of the run's loads wrote."""
    loads = call.loads()
    pages = dict.fromkeys(str(load.details["data_docs"]) for load in loads if load.details.get("data_docs"))
    return list(pages)


def verdicts_of_run(call: StepCall) -> list[MarketVerdict]:
    """Return the verdict on each market, added up over the run's manifests; of each its newest audit counts."""
    audits = {load.manifest_id: load.load_id for load in call.loads() if load.step == "audited"}
    found: dict[tuple[str, str], MarketVerdict] = {}
    for load_id in audits.values():
        for verdict in verdicts_of(call.connection, load_id):
            market = (verdict.exchange, verdict.symbol)
            found[market] = _together(found[market], verdict) if market in found else verdict
    return [found[market] for market in sorted(found)]


def loaded_ranges(call: StepCall) -> list[dict[str, Any]]:
    """Return dataset, start, end and appended rows of what the run's loads changed."""
    rows = call.connection.execute(
        "select changes.dataset, min(range_start), max(range_end),"
        " (select coalesce(sum(appended_rows), 0) from ops.loads"
        "  where load_id = any(%(loads)s) and step = 'loaded' and loads.dataset = changes.dataset)"
        " from ops.changes where load_id = any(%(loads)s) group by changes.dataset order by changes.dataset",
        {"loads": call.load_ids()},
    ).fetchall()
    return [{"dataset": row[0], "start": row[1], "end": row[2], "rows": int(row[3])} for row in rows]


def _together(left: MarketVerdict, right: MarketVerdict) -> MarketVerdict:
    reasons = Counter(left.reasons)
    reasons.update(right.reasons)
    return MarketVerdict(
        left.exchange,
        left.symbol,
        left.received_rows + right.received_rows,
        left.rejected_rows + right.rejected_rows,
        left.is_refused or right.is_refused,
        dict(reasons),
    )


def _compares_many(call: StepCall, waiting: list[ManifestRow]) -> bool:
    """Whether Spark has many rows to look at: those that are new are written in bulk, by Python workers."""
    from marketlake.timeframes import grid_count

    rows = 0
    for run_id in {row.run_id for row in waiting}:
        tasks = [task for task in tasks_of(call.connection, run_id) if task.timeframe and task.reason != "new"]
        rows += sum(grid_count(task.window, task.timeframe) for task in tasks)
    return rows >= _COMPARED_ROWS


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a job that is still running because something interrupted the wait for it."""
    if process.poll() is not None:
        return
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_STOP_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()
