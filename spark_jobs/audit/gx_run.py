"""Run a Great Expectations suite over a frame, keep the result, build its page in the data docs.

Importing this module costs seconds: import it only where there is something to judge.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

import great_expectations as gx
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier
from pyspark.sql import DataFrame

from expectations.suites import SUITES, suite_named
from marketlake.errors import DataError
from marketlake.settings import Settings

SITE = "data_docs"
KEPT_FOR = timedelta(days=30)
SAMPLE_VALUES = 20


class MissingResultsError(DataError):
    """A suite gave fewer results than it has expectations; the text says how many."""


@dataclass(frozen=True)
class Outcome:
    """What came of one expectation: `failed_rows` out of all judged rows; None where it does not count rows."""

    name: str
    severity: str
    success: bool
    failed_rows: int | None
    share: float | None


@dataclass(frozen=True)
class SuiteOutcome:
    """What came of a suite; `docs` is the index page of the data docs."""

    suite: str
    row_count: int
    outcomes: tuple[Outcome, ...]
    docs: Path

    @property
    def failed_critical(self) -> tuple[Outcome, ...]:
        """The critical expectations that failed: with one of them nothing may be committed."""
        return tuple(item for item in self.outcomes if item.severity == "critical" and not item.success)

    @property
    def has_passed(self) -> bool:
        """Whether every expectation was met but those that only inform."""
        return all(item.success or item.severity == "info" for item in self.outcomes)

    def failed_rows(self, name: str) -> int:
        """Return how many rows failed the expectation of this name."""
        return next(item.failed_rows or 0 for item in self.outcomes if item.name == name)


def docs_folder(settings: Settings) -> Path:
    """Return the folder of the data docs site; Airflow's web server serves it."""
    return settings.home / "docs" / "data_docs"


def results_folder(settings: Settings) -> Path:
    """Return the folder that keeps the full results as JSON."""
    return settings.logs_folder / "validation_results"


def run_suite(
    frame: DataFrame, suite: gx.ExpectationSuite, *, row_count: int, settings: Settings, name: str
) -> SuiteOutcome:
    """Return what the suite finds in the frame; the result is kept for 30 days as JSON and as a page.

    Beside it the data docs show what every suite expects.

    Raises:
        DataError: an expectation could not be computed, or gave no result.
    """
    _drop_old(results_folder(settings), docs_folder(settings))
    context = gx.get_context(mode="ephemeral", project_config=_project(settings))
    # GX would otherwise draw a progress bar of its own for each metric.
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_spark(SITE, persist=False).add_dataframe_asset(suite.name)
    definition = gx.ValidationDefinition(
        name=name, data=asset.add_batch_definition_whole_dataframe("load"), suite=context.suites.add(suite)
    )
    checkpoint = gx.Checkpoint(
        name=name,
        validation_definitions=[context.validation_definitions.add(definition)],
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE_VALUES},
    )
    result = context.checkpoints.add(checkpoint).run(
        batch_parameters={"dataframe": frame}, run_id=RunIdentifier(run_name=name)
    )
    _build_docs(context, suite, list(result.run_results), settings)
    outcomes = tuple(_outcome(item, row_count) for run in result.run_results.values() for item in run.results)
    if len(outcomes) < len(suite.expectations):
        raise MissingResultsError(
            f"suite {suite.name}: {len(outcomes)} results for {len(suite.expectations)} expectations"
        )
    return SuiteOutcome(suite.name, row_count, outcomes, docs_folder(settings) / "index.html")


def _build_docs(context: Any, judged: gx.ExpectationSuite, results: list[Any], settings: Settings) -> None:
    """Write the pages of these results and of every suite; of a suite that the context lacks, GX deletes the page."""
    names = {*SUITES, judged.name}
    for name in names - {judged.name}:
        context.suites.add(suite_named(name, settings.quality))
    pages = [*results, *(ExpectationSuiteIdentifier(name=name) for name in sorted(names))]
    context.build_data_docs(site_names=[SITE], resource_identifiers=pages)


def _outcome(item: Any, row_count: int) -> Outcome:
    config = item.expectation_config
    name = config.description or config.type
    raised = item.exception_info or {}
    messages = [info for info in (raised, *raised.values()) if isinstance(info, dict) and info.get("raised_exception")]
    if messages:
        text = str(messages[0].get("exception_message")).strip().splitlines()[0][:300]
        raise DataError(f"expectation {name} could not be computed: {text}")
    observed = item.result.get("observed_value")
    count = int(observed) if isinstance(observed, int | float) else None
    severity = str(getattr(config.severity, "value", config.severity))
    share = None if count is None or not row_count else count / row_count
    return Outcome(name, severity, bool(item.success), count, share)


def _project(settings: Settings) -> DataContextConfig:
    defaults = InMemoryStoreBackendDefaults()
    defaults.stores[defaults.validation_results_store_name] = {
        "class_name": "ValidationResultsStore",
        "store_backend": _files(results_folder(settings)),
    }
    defaults.data_docs_sites = {
        SITE: {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": _files(docs_folder(settings)),
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
    }
    return DataContextConfig(store_backend_defaults=defaults)


def _files(folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}


def _drop_old(*folders: Path) -> None:
    oldest = time.time() - KEPT_FOR.total_seconds()
    for folder in folders:
        for path in folder.rglob("*"):
            is_result = path.suffix == ".json" or "validations" in path.parts
            if is_result and path.is_file() and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)
