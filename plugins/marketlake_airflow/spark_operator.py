"""The operator that runs a Spark job where the settings say: this machine, a standalone cluster, EMR Serverless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from marketlake.errors import MarketlakeError
from marketlake.settings import Settings, load_settings
from marketlake_airflow.emr_serverless import EmrApplication, EmrJob, EmrJobError, EmrServerlessRun
from marketlake_airflow.plan_operator import plan_of
from marketlake_airflow.step_operator import LibraryStepOperator, run_of


class SparkJobOperator(LibraryStepOperator):
    """Run a Spark job for the task's run.

    On this machine and on a standalone cluster the step itself submits `job` in the library's environment, and only
    when something waits. On EMR Serverless the step `prepare` lets judge again what that one would and says what waits;
    the task submits the job for it, waits as long as the job limit and cancels it when stopped; a retry joins the job
    of the attempt before it while that still runs. Without a plan it fails at once.
    """

    ui_color = "#fdebd0"

    def __init__(
        self,
        *,
        job: str,
        prepare: str,
        needs: str,
        aws_conn_id: str = "aws_default",
        options: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(options=options, **kwargs)
        self.job = job
        self.prepare = prepare
        self.needs = needs
        self.aws_conn_id = aws_conn_id
        self._remote: EmrServerlessRun | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job and return its step's result, or the remote job's id; no remote job where nothing waits."""
        plan = plan_of(context, self.needs)
        if plan is None:
            raise AirflowFailException(f"the run has no plan: {self.needs} did not succeed; clear {self.needs}")
        if plan.get("dry_run"):
            raise AirflowSkipException("a dry run loads nothing")
        settings = load_settings()
        if settings.spark.backend != "emr_serverless":
            return super().execute(context)
        return self._run_remote(context, settings)

    def on_kill(self) -> None:
        """Cancel the remote job, or end the local one."""
        super().on_kill()
        if self._remote is not None:
            self._remote.cancel()

    def _run_remote(self, context: Context, settings: Settings) -> dict[str, Any]:
        from airflow.providers.amazon.aws.hooks.emr import EmrServerlessHook

        try:
            application = EmrApplication.of(settings)
        except MarketlakeError as error:
            raise AirflowFailException(str(error)) from None
        run, instance = run_of(context), context["ti"]
        prepared = self.run_step(self.prepare, run=run)
        if not prepared["waiting"]:
            return {"manifests": 0, "judged_again": 0}
        job = EmrJob(
            file=self.job,
            arguments=("--run", run, *self.options),
            name=f"{self.task_id} {run}",
            identity=f"{run}/{self.task_id}/{instance.map_index}",
        )
        client = EmrServerlessHook(aws_conn_id=self.aws_conn_id, region_name=settings.aws.region).conn
        self._remote = EmrServerlessRun(client, application, job)
        try:
            job_run_id = self._remote.run()
        except EmrJobError as error:
            raise AirflowException(str(error)) from None
        return {"job_run_id": job_run_id, "manifests": prepared["waiting"], "judged_again": prepared["judged_again"]}
