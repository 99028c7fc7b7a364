"""The operator that runs one step of the library in the library's own environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from marketlake_airflow.assets import BRONZE_LOADED, emit_loaded
from marketlake_airflow.links import CoverageLink, DataDocsLink, DeadLetterLink
from marketlake_airflow.run_id import library_run_id
from marketlake_airflow.step_process import StepError, StepProcess, library_command


class LibraryStepOperator(BaseOperator):
    """Run `marketlake step <step> --run <id>` and return its small JSON result.

    `options` are further arguments. The step's log lines become the task's log. A step that cannot succeed by
    repetition (wrong use, a refused market) fails without retry; one that has nothing to do is shown as skipped.
    Stopping the task ends the step and all that it started.
    """

    template_fields: Sequence[str] = ("step", "options")
    ui_color = "#e8f1fb"
    operator_extra_links = (DataDocsLink(), DeadLetterLink(), CoverageLink())

    def __init__(self, *, step: str, options: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.options = list(options)
        self._process: StepProcess | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step; raise AirflowSkipException where it says that it had nothing to do."""
        result = self.run_step(self.step, run=run_of(context), options=self.step_options(context))
        if result.get("skipped"):
            raise AirflowSkipException(str(result["skipped"]))
        if BRONZE_LOADED in self.outlets:
            emit_loaded(context, result.get("loaded", []))
        return result

    def step_options(self, context: Context) -> list[str]:
        """Return the step's arguments after its run id."""
        return list(self.options)

    def run_step(self, step: str, *, run: str, options: Sequence[str] = ()) -> dict[str, Any]:
        """Run one step as a child process and return its result; errors become Airflow's."""
        command = [library_command(), "step", step, "--run", run, *options, "--json"]
        self.log.info("%s", " ".join(command[1:]))
        self._process = StepProcess(command, log_line=self._log_line)
        try:
            return self._process.run()
        except StepError as error:
            failure = AirflowException if error.is_retryable else AirflowFailException
            raise failure(str(error)) from None

    def on_kill(self) -> None:
        """End the running step."""
        if self._process is not None:
            self._process.stop()

    def _log_line(self, line: str) -> None:
        self.log.info("%s", line)


def run_of(context: Context) -> str:
    """Return the library's id of the task's DAG run."""
    return library_run_id(context["dag_run"].dag_id, context["dag_run"].run_id)
