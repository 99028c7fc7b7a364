"""Spark jobs on EMR Serverless: started once however often the task is tried, watched, cancelled on request."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from marketlake.errors import ConfigError
from marketlake.settings import Section, Settings

POLL_SECONDS = 15.0
ENDED = frozenset({"SUCCESS", "FAILED", "CANCELLED"})
_MOST_ATTEMPTS = 100
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmrJob:
    """What to run: the job file below the artifacts' address, its arguments, its name in the console.

    `identity` names the work, not the attempt: run, task and map index.
    """

    file: str
    arguments: tuple[str, ...]
    name: str
    identity: str


@dataclass(frozen=True)
class EmrApplication:
    """Where jobs run: the application, the role, the artifacts' `s3://` prefix, the longest time a job may take.

    `environment` are the settings that a job reads, as variables of its driver; executors read none.
    """

    application_id: str
    role_arn: str
    artifacts: str
    limit_minutes: int
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, settings: Settings) -> EmrApplication:
        """Return the application of the settings.

        Raises:
            ConfigError: one of its keys is missing; the text lists them.
        """
        spark = settings.spark
        wanted = {
            "spark.emr_application_id": spark.emr_application_id,
            "spark.emr_execution_role_arn": spark.emr_execution_role_arn,
            "spark.emr_artifacts_uri": spark.emr_artifacts_uri,
        }
        missing = [key for key, value in wanted.items() if not value]
        if missing:
            raise ConfigError(f"spark.backend is emr_serverless, so these must be set: {', '.join(missing)}")
        application_id, role_arn, artifacts = (str(value) for value in wanted.values())
        environment = (
            ("MARKETLAKE__DELTA_LAKE__STORAGE_PATH", settings.lake_root),
            ("MARKETLAKE__AWS__REGION", settings.aws.region),
            *section_variables("DATABASE", settings.database),
            *section_variables("QUALITY", settings.quality),
        )
        limit = settings.orchestration.job_timeout_minutes
        return cls(application_id, role_arn, artifacts.rstrip("/"), limit, environment)


class EmrServerlessRun:
    """One job on EMR Serverless; `client` is boto3's `emr-serverless` client."""

    def __init__(
        self, client: Any, application: EmrApplication, job: EmrJob, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._application = application
        self._job = job
        self._sleep = sleep
        self._job_run_id: str | None = None

    def run(self) -> str:
        """Start the job, or join the one that an earlier attempt started, and return its id when it has succeeded.

        Raises:
            EmrJobError: it failed or was cancelled.
        """
        self._job_run_id = job_run_id = self._start_or_join()
        state = self._wait(job_run_id)
        if state["state"] != "SUCCESS":
            raise EmrJobError(
                f"job run {job_run_id} ended as {state['state']}: {state.get('stateDetails') or 'no details'}"
            )
        return job_run_id

    def cancel(self) -> None:
        """Cancel the job if it was started and has not ended."""
        if self._job_run_id is None:
            return
        with suppress(self._client.exceptions.ValidationException):  # it has ended
            self._client.cancel_job_run(applicationId=self._application.application_id, jobRunId=self._job_run_id)

    def _start_or_join(self) -> str:
        # The service answers a token that it knows with the job that it started for it. So the first token whose job
        # has not ended is either this attempt's new job or that of an attempt that died while its job went on.
        for attempt in range(_MOST_ATTEMPTS):
            answer = self._client.start_job_run(**self._request(attempt))
            job_run_id = str(answer["jobRunId"])
            state = self._state(job_run_id)["state"]
            if state == "CANCELLING":
                self._wait(job_run_id)
            elif state not in ENDED:
                _LOG.info("job run %s of application %s: %s", job_run_id, self._application.application_id, state)
                return job_run_id
        raise EmrJobError(f"{self._job.name} has ended {_MOST_ATTEMPTS} times; look at the application's job runs")

    def _wait(self, job_run_id: str) -> dict[str, Any]:
        shown = ""
        while True:
            state = self._state(job_run_id)
            if state["state"] in ENDED:
                return state
            if state["state"] != shown:
                shown = state["state"]
                _LOG.info("job run %s: %s", job_run_id, shown)
            self._sleep(POLL_SECONDS)

    def _state(self, job_run_id: str) -> dict[str, Any]:
        answer = self._client.get_job_run(applicationId=self._application.application_id, jobRunId=job_run_id)
        return dict(answer["jobRun"])

    def _request(self, attempt: int) -> dict[str, Any]:
        application, job = self._application, self._job
        return {
            "applicationId": application.application_id,
            "clientToken": client_token(job.identity, attempt),
            "executionRoleArn": application.role_arn,
            "executionTimeoutMinutes": application.limit_minutes,
            "name": job.name[:256],
            "jobDriver": {
                "sparkSubmit": {
                    "entryPoint": f"{application.artifacts}/{job.file}",
                    "entryPointArguments": list(job.arguments),
                    "sparkSubmitParameters": submit_parameters(application.artifacts, application.environment),
                }
            },
        }


class EmrJobError(Exception):
    """A job on EMR Serverless did not succeed."""


def client_token(identity: str, attempt: int) -> str:
    """Return the token of the n-th job for one piece of work; 64 hex digits."""
    return hashlib.sha256(f"{identity}\x1f{attempt}".encode()).hexdigest()


def section_variables(name: str, section: Section) -> tuple[tuple[str, str], ...]:
    """Return a section of the settings as the variables that set it; keys without a value are left out."""
    values = section.model_dump(mode="json", exclude_none=True).items()
    return tuple(
        (f"MARKETLAKE__{name}__{key.upper()}", value if isinstance(value, str) else json.dumps(value))
        for key, value in values
    )


def submit_parameters(artifacts: str, environment: Sequence[tuple[str, str]]) -> str:
    """Return spark-submit's parameters: the library as a zip, its packages as an archive, the settings as variables."""
    python = "./environment/bin/python"
    conf = {
        "spark.archives": f"{artifacts}/environment.tar.gz#environment",
        "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": python,
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": python,
        "spark.executorEnv.PYSPARK_PYTHON": python,
        "spark.sql.session.timeZone": "UTC",
    }
    for name, value in environment:
        conf[f"spark.emr-serverless.driverEnv.{name}"] = value
    options = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    return shlex.join(["--py-files", f"{artifacts}/marketlake.zip", *options])
