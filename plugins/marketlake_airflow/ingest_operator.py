"""The task that fetches: one dataset from one exchange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from marketlake_airflow.plan_operator import plan_of
from marketlake_airflow.step_operator import LibraryStepOperator


class IngestOperator(LibraryStepOperator):
    """Fetch one dataset from one exchange: every fetch task of the run's plan for the two."""

    template_fields: Sequence[str] = ("exchange", "dataset")
    ui_color = "#d6eaf8"

    def __init__(self, *, exchange: str, dataset: str, plan: str, **kwargs: Any) -> None:
        super().__init__(step="ingest", **kwargs)
        self.exchange = exchange
        self.dataset = dataset
        self.plan = plan

    def step_options(self, context: Context) -> list[str]:
        """Return the exchange and the dataset as arguments."""
        work = (plan_of(context, self.plan) or {}).get("work") or []
        if not any(item["exchange"] == self.exchange and item["dataset"] == self.dataset for item in work):
            raise AirflowSkipException(f"nothing to fetch of {self.dataset} from {self.exchange}")
        return ["--exchange", self.exchange, "--dataset", self.dataset]
