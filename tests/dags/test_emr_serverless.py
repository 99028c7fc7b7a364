"""Tests for `marketlake_airflow.emr_serverless` and its operator, against botocore's stub of the service."""

from __future__ import annotations

import shlex
from typing import Any

import boto3
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from botocore.stub import ANY, Stubber

from marketlake.errors import ConfigError
from marketlake.settings import load_settings
from marketlake_airflow.emr_serverless import (
    POLL_SECONDS,
    EmrApplication,
    EmrJob,
    EmrJobError,
    EmrServerlessRun,
    client_token,
    submit_parameters,
)
from marketlake_airflow.plan_operator import PLAN_KEY
from marketlake_airflow.spark_operator import SparkJobOperator
from tests.dags.conftest import REPOSITORY, Library, TaskInstance, context_of

APPLICATION = EmrApplication("app1", "arn:aws:iam::123456789012:role/spark", "s3://bucket/code", 60)
JOB = EmrJob("spark_jobs/bronze/load.py", ("--run", "r1"), "load_bronze r1", "r1/load_bronze/-1")
DRIVER = "spark.emr-serverless.driverEnv."
SETTINGS = {
    "MARKETLAKE__SPARK__BACKEND": "emr_serverless",
    "MARKETLAKE__SPARK__EMR_APPLICATION_ID": "app1",
    "MARKETLAKE__SPARK__EMR_EXECUTION_ROLE_ARN": "arn:aws:iam::123456789012:role/spark",
    "MARKETLAKE__SPARK__EMR_ARTIFACTS_URI": "s3://bucket/code/",
}


class Service:
    """The stubbed service: answers what a test expects it to be asked, in order."""

    def __init__(self) -> None:
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        self.client = boto3.client("emr-serverless", region_name="us-east-1", **keys)
        self.stub = Stubber(self.client)
        self.waits: list[float] = []
        self.stub.activate()

    def starts(self, job: str, *, attempt: int = 0) -> None:
        expected = dict.fromkeys(("executionRoleArn", "executionTimeoutMinutes", "name", "jobDriver"), ANY)
        expected |= {"applicationId": "app1", "clientToken": client_token(JOB.identity, attempt)}
        self.stub.add_response("start_job_run", {"applicationId": "app1", "jobRunId": job, "arn": _arn(job)}, expected)

    def tells(self, job: str, *states: str) -> None:
        for state in states:
            self.stub.add_response("get_job_run", _state(job, state), {"applicationId": "app1", "jobRunId": job})

    def cancels(self, job: str) -> None:
        answer = {"applicationId": "app1", "jobRunId": job}
        self.stub.add_response("cancel_job_run", answer, {"applicationId": "app1", "jobRunId": job})

    def run(self) -> EmrServerlessRun:
        return EmrServerlessRun(self.client, APPLICATION, JOB, sleep=self.waits.append)


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_job_is_started_and_watched_until_it_succeeds(service: Service) -> None:
    service.starts("job1")
    service.tells("job1", "SUBMITTED", "PENDING", "RUNNING", "SUCCESS")

    assert service.run().run() == "job1"
    assert service.waits == [POLL_SECONDS] * 2
    service.stub.assert_no_pending_responses()


def test_a_retry_joins_the_job_that_still_runs(service: Service) -> None:
    service.starts("job1")  # the service answers the token that it knows with the job of the attempt before
    service.tells("job1", "RUNNING", "RUNNING", "SUCCESS")

    assert service.run().run() == "job1"
    service.stub.assert_no_pending_responses()


def test_a_retry_after_a_failed_job_starts_the_next(service: Service) -> None:
    service.starts("job1", attempt=0)
    service.tells("job1", "FAILED")
    service.starts("job2", attempt=1)
    service.tells("job2", "SUBMITTED", "SUCCESS")

    assert service.run().run() == "job2"
    service.stub.assert_no_pending_responses()


def test_a_retry_waits_for_a_job_that_is_being_cancelled(service: Service) -> None:
    service.starts("job1", attempt=0)
    service.tells("job1", "CANCELLING", "CANCELLING", "CANCELLED")
    service.starts("job2", attempt=1)
    service.tells("job2", "SUBMITTED", "SUCCESS")

    assert service.run().run() == "job2"
    assert service.waits == [POLL_SECONDS]


def test_a_failed_job_is_named_with_the_services_words(service: Service) -> None:
    service.starts("job1")
    service.tells("job1", "SUBMITTED", "FAILED")

    with pytest.raises(EmrJobError, match="job1 ended as FAILED: out of capacity"):
        service.run().run()


def test_stopping_the_task_cancels_the_job(service: Service) -> None:
    service.starts("job1")
    service.tells("job1", "RUNNING", "RUNNING")
    service.cancels("job1")
    run = service.run()

    def stop_instead_of_waiting(seconds: float) -> None:
        run.cancel()
        raise KeyboardInterrupt

    run._sleep = stop_instead_of_waiting
    with pytest.raises(KeyboardInterrupt):
        run.run()
    service.stub.assert_no_pending_responses()


def test_nothing_is_cancelled_before_a_job_is_started(service: Service) -> None:
    service.run().cancel()

    service.stub.assert_no_pending_responses()


def test_the_request_carries_files_arguments_and_the_job_limit(service: Service) -> None:
    request = service.run()._request(0)

    assert request["executionTimeoutMinutes"] == 60
    submit = request["jobDriver"]["sparkSubmit"]
    assert submit["entryPoint"] == "s3://bucket/code/spark_jobs/bronze/load.py"
    assert submit["entryPointArguments"] == ["--run", "r1"]
    assert "--py-files s3://bucket/code/marketlake.zip" in submit["sparkSubmitParameters"]


def test_the_settings_name_every_key_that_is_missing() -> None:
    settings = load_settings(environ={"MARKETLAKE__SPARK__BACKEND": "emr_serverless"})

    with pytest.raises(
        ConfigError, match=r"emr_application_id, spark\.emr_execution_role_arn, spark\.emr_artifacts_uri"
    ):
        EmrApplication.of(settings)


def test_a_job_finds_the_database_and_the_rules_of_the_settings() -> None:
    given = {
        **SETTINGS,
        "MARKETLAKE__DATABASE__EMBEDDED": "false",
        "MARKETLAKE__DATABASE__HOST": "aurora.internal",
        "MARKETLAKE__DATABASE__PORT": "5432",
        "MARKETLAKE__DATABASE__PASSWORD": "it's a $word with spaces",
        "MARKETLAKE__DATABASE__SSL_MODE": "require",
        "MARKETLAKE__QUALITY__PRICE_BOUNDS": '[{"symbol": "ETH/USDT", "low": 10, "high": 20000}]',
        "MARKETLAKE__DELTA_LAKE__STORAGE_PATH": "s3://lake",
    }
    settings = load_settings(environ=given)
    application = EmrApplication.of(settings)

    parts = shlex.split(submit_parameters(application.artifacts, application.environment))
    confs = [part.split("=", 1) for part in parts if "=" in part]
    driver = {name.removeprefix(DRIVER): value for name, value in confs if name.startswith(DRIVER)}
    seen = load_settings(environ={name: value for name, value in driver.items() if name.startswith("MARKETLAKE")})

    assert (seen.database, seen.quality, seen.lake_root) == (settings.database, settings.quality, "s3://lake")
    assert "$word" not in repr(application)
    assert not [name for name, _ in confs if name.startswith("spark.executorEnv.MARKETLAKE")]


def test_the_profile_for_production_names_everything_that_a_job_needs() -> None:
    wanted = ("DB_HOST", "DB_PASSWORD", "DB_READER_PASSWORD", "EMR_APPLICATION_ID", "EMR_EXECUTION_ROLE_ARN")
    settings = load_settings(
        REPOSITORY / "config" / "prod.yaml", environ={**dict.fromkeys(wanted, "x"), "EMR_ARTIFACTS_URI": "s3://code"}
    )

    assert EmrApplication.of(settings).artifacts == "s3://code"


def _operator(monkeypatch: pytest.MonkeyPatch, service: Service) -> SparkJobOperator:
    from airflow.providers.amazon.aws.hooks.emr import EmrServerlessHook

    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(EmrServerlessHook, "conn", service.client)
    monkeypatch.setattr("marketlake_airflow.emr_serverless.POLL_SECONDS", 0.0)
    return SparkJobOperator(
        task_id="load_bronze", step="load_bronze", prepare="prepare_load", job=JOB.file, needs="plan_fetches"
    )


def _context() -> dict[str, Any]:
    return context_of(ti=TaskInstance({("plan_fetches", PLAN_KEY): {"run_id": "r"}}))


def test_the_operator_submits_to_emr_where_the_settings_say_so(
    monkeypatch: pytest.MonkeyPatch, service: Service, library: Library
) -> None:
    operator = _operator(monkeypatch, service)
    library.answer("prepare_load", {"waiting": 2, "judged_again": 1})
    service.stub.add_response("start_job_run", {"applicationId": "app1", "jobRunId": "job1", "arn": _arn("job1")})
    service.tells("job1", "RUNNING", "SUCCESS")

    assert operator.execute(_context()) == {"job_run_id": "job1", "manifests": 2, "judged_again": 1}
    assert library.steps == ["prepare_load"]


def test_no_job_is_submitted_where_nothing_waits(
    monkeypatch: pytest.MonkeyPatch, service: Service, library: Library
) -> None:
    operator = _operator(monkeypatch, service)
    library.answer("prepare_load", {"waiting": 0, "judged_again": 0})

    assert operator.execute(_context()) == {"manifests": 0, "judged_again": 0}
    service.stub.assert_no_pending_responses()


def test_a_failed_remote_job_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, service: Service, library: Library
) -> None:
    operator = _operator(monkeypatch, service)
    library.answer("prepare_load", {"waiting": 1, "judged_again": 0})
    service.stub.add_response("start_job_run", {"applicationId": "app1", "jobRunId": "job1", "arn": _arn("job1")})
    service.tells("job1", "RUNNING", "FAILED")
    service.cancels("job1")

    with pytest.raises(AirflowException, match="out of capacity"):
        operator.execute(_context())
    operator.on_kill()
    service.stub.assert_no_pending_responses()


def test_missing_settings_fail_the_task_at_once(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    operator = _operator(monkeypatch, service)
    monkeypatch.delenv("MARKETLAKE__SPARK__EMR_APPLICATION_ID")

    with pytest.raises(AirflowFailException, match="emr_application_id"):
        operator.execute(_context())


def _arn(job: str) -> str:
    return f"arn:aws:emr-serverless:us-east-1:123456789012:/applications/app1/jobruns/{job}"


def _state(job: str, state: str) -> dict[str, Any]:
    return {
        "jobRun": {
            "applicationId": "app1",
            "jobRunId": job,
            "arn": _arn(job),
            "createdBy": "arn:aws:iam::123456789012:user/x",
            "createdAt": 0,
            "updatedAt": 0,
            "executionRole": APPLICATION.role_arn,
            "state": state,
            "stateDetails": "out of capacity" if state == "FAILED" else "as planned",
            "releaseLabel": "emr-8.1.0",
            "jobDriver": {"sparkSubmit": {"entryPoint": JOB.file}},
        }
    }
