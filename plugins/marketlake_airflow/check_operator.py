"""The last task of a run: red when something failed that the run should have done, and it says what to clear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from marketlake_airflow.plan_operator import plan_of
from marketlake_airflow.step_operator import LibraryStepOperator, run_of

_FAILED = ("failed", "upstream_failed")


class CheckRunOperator(LibraryStepOperator):
    """Fail when a task before it failed or was not reached because of a failure, or the ledger names a refusal.

    `warn_only` tasks may fail without turning the run red. `needs` is the task without which the ledger knows nothing.
    """

    ui_color = "#fadbd8"

    def __init__(self, *, needs: str, warn_only: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(step="check_run", trigger_rule="all_done", **kwargs)
        self.needs = needs
        self.warn_only = list(warn_only)

    def execute(self, context: Context) -> dict[str, Any]:
        """Mirror the ledger into the lake, and return the ledger's verdict where all is well."""
        instances = list(context["ti"].get_task_breadcrumbs(dag_id=self.dag_id, run_id=context["dag_run"].run_id))
        for task_id in warned(instances, self.warn_only):
            self.log.warning("%s failed; that alone does not fail the run", task_id)
        problems = failures(instances, ignored=[self.task_id, *self.warn_only])
        verdict: dict[str, Any] = {}
        failure: type[AirflowException] = AirflowFailException
        plan = plan_of(context, self.needs)
        # One that fails does not hide what the other has to say.
        for step in ("mirror_ledger", self.step) if plan is not None and not plan.get("dry_run") else ():
            try:
                verdict = self.run_step(step, run=run_of(context))
            except AirflowFailException as error:
                problems.append(str(error))
            except AirflowException as error:  # it can heal, so all of it is tried again
                problems.append(f"{step}: {error}")
                failure = AirflowException
        if problems:
            raise failure("\n".join(problems))
        return verdict


def warned(instances: Iterable[Mapping[str, Any]], warn_only: Sequence[str]) -> list[str]:
    """Return the tasks that failed and are allowed to."""
    failed = {str(item["task_id"]) for item in instances if item["state"] in _FAILED}
    return sorted(failed.intersection(warn_only))


def failures(instances: Iterable[Mapping[str, Any]], *, ignored: Sequence[str]) -> list[str]:
    """Return one sentence per task that failed, and one for those that were not reached because of it."""
    seen = [item for item in instances if item["task_id"] not in ignored]
    failed = sorted({_name(item) for item in seen if item["state"] == "failed"})
    unreached = sorted({str(item["task_id"]) for item in seen if item["state"] == "upstream_failed"})
    sentences = [
        f"{name} failed: mend the cause its log names, then clear {name} with its downstream tasks" for name in failed
    ]
    if unreached:
        sentences.append(f"not reached because of that: {', '.join(unreached)}")
    return sentences


def _name(instance: Mapping[str, Any]) -> str:
    index = instance.get("map_index")
    return str(instance["task_id"]) if index in (None, -1) else f"{instance['task_id']}[{index}]"
