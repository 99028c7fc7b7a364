"""Tests for `config/*.yaml` and `.env.example`: they say what the code reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from marketlake.errors import ConfigError
from marketlake.settings import SHORT_VARIABLES, load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
# Read by other programs that ours start, or known everywhere; .env.example names those that a user may need.
FOREIGN = {
    "PATH", "HOME", "TZ", "PWD", "PYTHONPATH", "VIRTUAL_ENV", "JAVA_HOME", "HTTPS_PROXY", "https_proxy",
    "SSL_CERT_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "CI", "UV_HTTP_TIMEOUT", "UV_PYTHON_DOWNLOADS",
}  # fmt: skip
READS = re.compile(r"environ(?:\.get\(|\.pop\(|\[)\s*[\"']([A-Za-z_][A-Za-z0-9_]*)[\"']|getenv\(\s*[\"'](\w+)[\"']")


def variables_of_the_example() -> set[str]:
    text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    return set(re.findall(r"^#?([A-Za-z_]+)=", text, re.MULTILINE))


def variables_of_the_code() -> set[str]:
    found = set(SHORT_VARIABLES) | {"MARKETLAKE_HOME", "CONFIG_FILE"}
    for folder in ("plugins", "spark_jobs", "expectations", "dags", "scripts", "config"):
        for path in [*(REPOSITORY / folder).rglob("*.py"), *(REPOSITORY / folder).rglob("*.yaml")]:
            text = path.read_text(encoding="utf-8")
            found |= {first or second for first, second in READS.findall(text)}
            found |= (
                set(re.findall(r"^[^#\n]*\$\{([A-Z_]+)\}", text, re.MULTILINE)) if path.suffix == ".yaml" else set()
            )
    return {name for name in found if not name.startswith("AIRFLOW")}


def test_env_example_lists_each_variable_that_the_code_reads() -> None:
    assert sorted(variables_of_the_code() - FOREIGN - variables_of_the_example()) == []


def test_env_example_lists_nothing_that_the_code_does_not_read() -> None:
    elsewhere = {"MARKETLAKE_TEST_DATA", "MARKETLAKE_CRASH_AT", "AIRFLOW_JWT_SECRET"}  # tests, proofs, compose

    assert sorted(variables_of_the_example() - variables_of_the_code() - FOREIGN - elsewhere) == []


def test_local_yaml_says_the_defaults(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    defaults = load_settings(empty, environ={}).model_dump(exclude={"aws", "etl"})

    assert (
        load_settings(REPOSITORY / "config" / "local.yaml", environ={}).model_dump(exclude={"aws", "etl"}) == defaults
    )


def test_local_yaml_has_the_values_of_the_local_profile() -> None:
    local = load_settings(REPOSITORY / "config" / "local.yaml", environ={})

    assert local.aws.endpoint_url == "http://localhost:4566"
    assert (local.etl.silver_layer_retention_days, local.etl.gold_layer_retention_days) == (90, 365)


# The table of keys: local, production. Port 0 is a free one that the embedded server picks and remembers.
KEYS = {
    "aws.region": ("us-east-1", "us-east-1"),
    "aws.s3_bucket": ("bitcoin-data-lake", "bitcoin-data-lake-prod"),
    "aws.endpoint_url": ("http://localhost:4566", None),
    "database.host": ("127.0.0.1", "DB_HOST of the environment"),
    "database.port": (0, 5432),
    "database.database": ("bitcoin_db", "bitcoin_prod"),
    "database.username": ("postgres", "bitcoin_user"),
    "database.password": ("postgres", "DB_PASSWORD of the environment"),
    "database.pool_size": (10, 20),
    "database.ssl_mode": (None, "require"),
    "etl.batch_size": (10_000, 50_000),
    "etl.processing_interval": ("1h", "30m"),
    "etl.silver_layer_retention_days": (90, None),
    "etl.gold_layer_retention_days": (365, None),
    "etl.enable_parallel_processing": (False, True),
    "etl.worker_count": (1, 4),
    "orchestration.scheduler_enabled": (True, True),
    "orchestration.max_concurrent_jobs": (3, 3),
    "orchestration.job_timeout_minutes": (60, 120),
}


@pytest.mark.parametrize(("profile", "place"), [("local", 0), ("prod", 1)])
def test_each_key_has_its_value_in_both_profiles(profile: str, place: int) -> None:
    names = ("DB_HOST", "DB_PASSWORD", "DB_READER_PASSWORD", "EMR_APPLICATION_ID", "EMR_EXECUTION_ROLE_ARN")
    environ = {name: f"{name} of the environment" for name in names} if profile == "prod" else {}
    tree = load_settings(REPOSITORY / "config" / f"{profile}.yaml", environ=environ).model_dump()

    found = {key: tree[section][name] for key in KEYS for section, name in [key.split(".")]}

    assert found == {key: values[place] for key, values in KEYS.items()}


def test_prod_yaml_takes_its_secrets_from_the_environment() -> None:
    environ = {
        "DB_HOST": "db.example", "DB_PASSWORD": "one", "DB_READER_PASSWORD": "two",
        "EMR_APPLICATION_ID": "app", "EMR_EXECUTION_ROLE_ARN": "arn:aws:iam::1:role/spark",
    }  # fmt: skip
    prod = load_settings(REPOSITORY / "config" / "prod.yaml", environ=environ)

    assert (prod.database.host, prod.database.password, prod.database.ssl_mode) == ("db.example", "one", "require")
    assert prod.lake_root == "s3://bitcoin-data-lake-prod"
    assert (prod.database.pool_size, prod.etl.batch_size, prod.etl.worker_count) == (20, 50_000, 4)


def test_prod_yaml_names_every_unset_variable_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(REPOSITORY / "config" / "prod.yaml", environ={})

    for name in ("DB_HOST", "DB_PASSWORD", "DB_READER_PASSWORD", "EMR_APPLICATION_ID", "EMR_EXECUTION_ROLE_ARN"):
        assert name in str(caught.value)
