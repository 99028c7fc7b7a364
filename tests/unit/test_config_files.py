"""Tests for `config/*.yaml` and `.env.example`: they say what the code reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

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


# Where config/local.yaml says another value than the code's default: LocalStack, and how long the layers are kept.
NOT_THE_DEFAULT = {"aws.endpoint_url", "etl.silver_layer_retention_days", "etl.gold_layer_retention_days"}


def leaves(tree: Any, at: str = "") -> dict[str, Any]:
    """Return the values of a tree by their dotted key; a list is one value, as is a mapping of free names."""
    if not isinstance(tree, dict) or not tree:
        return {at: list(tree) if isinstance(tree, tuple) else tree}
    return {
        key: value
        for name, below in tree.items()
        for key, value in leaves(below, f"{at}.{name}" if at else name).items()
    }


def test_local_yaml_shows_each_key_with_its_default(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    defaults = leaves(load_settings(empty, environ={}).model_dump(exclude={"home"}))
    shown = leaves(yaml.safe_load((REPOSITORY / "config" / "local.yaml").read_text(encoding="utf-8")))

    assert sorted(shown) == sorted(defaults)
    assert {key for key, value in defaults.items() if shown[key] != value} == NOT_THE_DEFAULT


def test_local_yaml_has_the_values_of_the_local_profile() -> None:
    local = load_settings(REPOSITORY / "config" / "local.yaml", environ={})

    assert local.aws.endpoint_url == "http://localhost:4566"
    assert (local.etl.silver_layer_retention_days, local.etl.gold_layer_retention_days) == (90, 365)


# The specification's names of variables with their defaults, as they must work.
VARIABLES = {
    "AWS_REGION": ("aws.region", "us-east-1"),
    "DB_HOST": ("database.host", "127.0.0.1"),
    "DB_PORT": ("database.port", 0),
    "DB_NAME": ("database.database", "bitcoin_db"),
    "DB_USER": ("database.username", "postgres"),
    "DB_PASSWORD": ("database.password", "postgres"),
    "BINANCE_STREAM_URL": ("exchanges.binance.ws_url", "wss://stream.binance.com:9443/ws"),
    "FEEDER_PORT": ("health.feeder_port", 8080),
    "FEATURE_UPDATE_INTERVAL": ("streaming.feature_update_seconds", 60),
    "GAP_DETECTION_THRESHOLD": ("streaming.gap_threshold_seconds", 70),
    "LOG_LEVEL": ("logging.level", "info"),
    "GAP_HANDLER_URL": ("streaming.gap_handler_url", None),
    "ALPHA_VANTAGE_API_KEY": ("vendors.alpha_vantage_api_key", None),
    "OANDA_API_KEY": ("vendors.oanda_api_key", None),
    "ALERT_WEBHOOK_URL": ("alerts.webhook_url", None),
}
# Values that each variable takes beside its default.
OTHERS = {"DB_PORT": "6543", "FEEDER_PORT": "9", "LOG_LEVEL": "error", "BINANCE_STREAM_URL": "ws://127.0.0.1:9/ws"}
NUMBERS = {"FEATURE_UPDATE_INTERVAL", "GAP_DETECTION_THRESHOLD"}
ADDRESSES = {"GAP_HANDLER_URL", "ALERT_WEBHOOK_URL"}


def test_the_variables_are_those_of_the_specification() -> None:
    assert {name: place for name, (place, _) in VARIABLES.items()} == SHORT_VARIABLES
    assert set(VARIABLES) | {"MARKETLAKE_HOME", "CONFIG_FILE"} <= variables_of_the_example()


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_sets_its_key(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    place, default = VARIABLES[name]
    value = OTHERS.get(name) or ("9" if name in NUMBERS else "http://host.example/x" if name in ADDRESSES else "other")

    assert leaves(load_settings(empty, environ={}).model_dump())[place] == default
    assert str(leaves(load_settings(empty, environ={name: value}).model_dump())[place]).removesuffix(".0") == value


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
    "streaming.data_stream": ("bitcoin-market-data", "bitcoin-market-data"),
    "streaming.batch_records": (500, 500),
    "streaming.flush_seconds": (1, 1),
    "health.feeder_port": (8080, 8080),
}


@pytest.mark.parametrize(("profile", "place"), [("local", 0), ("prod", 1)])
def test_each_key_has_its_value_in_both_profiles(profile: str, place: int) -> None:
    names = (
        "DB_HOST",
        "DB_PASSWORD",
        "DB_READER_PASSWORD",
        "EMR_APPLICATION_ID",
        "EMR_EXECUTION_ROLE_ARN",
        "EMR_ARTIFACTS_URI",
    )
    environ = {name: f"{name} of the environment" for name in names} if profile == "prod" else {}
    tree = load_settings(REPOSITORY / "config" / f"{profile}.yaml", environ=environ).model_dump()

    found = {key: tree[section][name] for key in KEYS for section, name in [key.split(".")]}

    assert found == {key: values[place] for key, values in KEYS.items()}


def test_prod_yaml_takes_its_secrets_from_the_environment() -> None:
    environ = {
        "DB_HOST": "db.example", "DB_PASSWORD": "one", "DB_READER_PASSWORD": "two",
        "EMR_APPLICATION_ID": "app", "EMR_EXECUTION_ROLE_ARN": "arn:aws:iam::1:role/spark",
        "EMR_ARTIFACTS_URI": "s3://code",
    }  # fmt: skip
    prod = load_settings(REPOSITORY / "config" / "prod.yaml", environ=environ)

    assert (prod.database.host, prod.database.password, prod.database.ssl_mode) == ("db.example", "one", "require")
    assert prod.lake_root == "s3://bitcoin-data-lake-prod"
    assert (prod.database.pool_size, prod.etl.batch_size, prod.etl.worker_count) == (20, 50_000, 4)


def test_prod_yaml_names_every_unset_variable_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(REPOSITORY / "config" / "prod.yaml", environ={})

    for name in (
        "DB_HOST",
        "DB_PASSWORD",
        "DB_READER_PASSWORD",
        "EMR_APPLICATION_ID",
        "EMR_EXECUTION_ROLE_ARN",
        "EMR_ARTIFACTS_URI",
    ):
        assert name in str(caught.value)
