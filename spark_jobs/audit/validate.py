"""Judge any frame of a dataset's rows by its suite, outside of a load (QUA-09)."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations.row_rules import audited_columns, failure_columns
from expectations.suites import dataset_of_suite, suite_named
from marketlake.datasets import Dataset
from marketlake.errors import DataError
from marketlake.rules import rules_for
from marketlake.settings import Settings, load_settings
from spark_jobs.audit.gx_run import MissingResultsError, SuiteOutcome, run_suite

# What rows outside of a load do not have. Without the end of a window nothing is late.
_STAND_INS = {
    "manifest_no": "0",
    "file_no": "0",
    "source_position": "0",
    "unreadable": "cast(null as string)",
    "window_end": "cast(null as timestamp)",
}


def validate_dataframe(df: DataFrame, suite_name: str, *, settings: Settings | None = None) -> bool:
    """Return whether the frame meets every expectation of the suite but those that only inform.

    `df` has a dataset's own columns, typed as the registry says; what a load adds to them may be missing. The result is
    written to the data docs and, as JSON with success, count and share of each expectation, to `verdicts_folder`. Fewer
    results than expectations count as a failure.

    Raises:
        UnknownNameError: no suite has this name.
        DataError: the frame is empty, or an expectation could not be computed.
    """
    settings = settings or load_settings()
    suite = suite_named(suite_name, settings.quality)
    dataset = dataset_of_suite(suite_name)
    count = df.count()
    if not count:
        raise DataError(f"suite {suite_name} has nothing to judge: the frame is empty")
    rows = audited_rows(df, dataset).selectExpr("*", *failure_columns(rules_for(dataset, settings.quality)))
    name = f"{suite_name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    try:
        outcome = run_suite(rows, suite, row_count=count, settings=settings, name=name)
    except MissingResultsError:
        return False
    _write_result(outcome, verdicts_folder(settings) / f"{name}.json")
    return outcome.has_passed


def verdicts_folder(settings: Settings) -> Path:
    """Return the folder of the verdicts, a JSON file for each call."""
    return settings.logs_folder / "verdicts"


def audited_rows(df: DataFrame, dataset: Dataset) -> DataFrame:
    """Return the frame with the columns that a suite judges: those of a commit left out, those of a load filled in.

    A column that is no column of the dataset stays, so that the suite finds it.
    """
    filled = df.withColumns({name: F.expr(value) for name, value in _STAND_INS.items() if name not in df.columns})
    at_commit = set(dataset.column_names) - set(audited_columns(dataset))
    return filled.drop(*at_commit)


def _write_result(outcome: SuiteOutcome, path: Path) -> None:
    document = {
        "suite": outcome.suite,
        "success": outcome.has_passed,
        "row_count": outcome.row_count,
        "expectations": [asdict(item) for item in outcome.outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
