"""Tests for ``marketlake.settings``."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from marketlake.errors import ConfigError
from marketlake.settings import load_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    path = written(tmp_path, "etl: {batch_size: 7, worker_count: 3}")
    settings = load_settings(path, environ={"MARKETLAKE__ETL__BATCH_SIZE": "9"})
    assert (settings.etl.batch_size, settings.etl.worker_count, settings.etl.processing_interval) == (9, 3, "1h")


def test_the_long_form_of_a_variable_wins_over_its_short_name(tmp_path: Path) -> None:
    environ = {"DB_HOST": "short", "MARKETLAKE__DATABASE__HOST": "long", "DB_NAME": "lake"}
    database = load_settings(written(tmp_path, ""), environ=environ).database
    assert (database.host, database.database) == ("long", "lake")


def test_lists_come_as_json_and_an_exchange_keeps_its_other_defaults(tmp_path: Path) -> None:
    environ = {
        "MARKETLAKE__EXCHANGES__BINANCE__REST_URL": "http://127.0.0.1:8899",
        "MARKETLAKE__EXCHANGES__BINANCE__SYMBOLS__OHLCV": '["XRP/ETH"]',
    }
    binance = load_settings(written(tmp_path, ""), environ=environ).exchanges["binance"]
    assert binance.rest_url == "http://127.0.0.1:8899"
    assert binance.symbols.ohlcv == ("XRP/ETH",)
    assert binance.futures_rest_url == "https://fapi.binance.com"


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "clok: {source: local}\ndatabase: {password: '${NOT_SET}', port: many}\n")
    with pytest.raises(ConfigError) as error:
        load_settings(path, environ={"MARKETLAKE__CLOCK__SOURCE": "sundial"})
    text = str(error.value)
    assert text.startswith("4 problem(s)")
    for part in ("clok: unknown key", "NOT_SET is not set", "database.port", "clock.source", "sundial"):
        assert part in text


def test_variables_in_the_file_are_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, "database: {host: '${DB}.internal'}")
    assert load_settings(path, environ={"DB": "lake"}).database.host == "lake.internal"


@pytest.mark.parametrize("text", ["- a list", "a: [unclosed"])
def test_a_file_that_is_no_tree_of_sections_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"settings\.yaml"):
        load_settings(written(tmp_path, text), environ={})


def test_a_missing_file_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        load_settings(environ={"CONFIG_FILE": "/nowhere.yaml"})


def test_a_value_where_a_section_is_expected_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DATABASE"):
        load_settings(written(tmp_path, "database: 5"), environ={"MARKETLAKE__DATABASE__HOST": "x"})


def test_a_secret_is_shown_neither_in_a_problem_nor_in_print() -> None:
    environ = {
        "DB_PASSWORD": "hunter2", "MARKETLAKE__ALERTS__WEBHOOK_URL": "https://hooks.example/hunter2",
        "OANDA_API_KEY": "hunter2", "ALPHA_VANTAGE_API_KEY": "hunter2",
    }  # fmt: skip
    assert "hunter2" not in f"{load_settings(environ=environ)!r} {load_settings(environ=environ)}"
    with pytest.raises(ConfigError, match=r"database\.password") as error:
        load_settings(environ={"MARKETLAKE__DATABASE__PASSWORD": '["hunter2"]', "ALERT_WEBHOOK_URL": "hunter2"})
    assert "alerts.webhook_url" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_file_of_ones_own_beside_the_shipped_one_is_read_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    monkeypatch.setattr(
        "marketlake.settings_tree.__file__", str(tmp_path / "plugins" / "marketlake" / "settings_tree.py")
    )
    assert load_settings(environ={}).etl.worker_count == 1
    for name, count in (("local.yaml", 2), ("config.local.yaml", 3)):
        (tmp_path / "config" / name).write_text(f"etl: {{worker_count: {count}}}")
        assert load_settings(environ={}).etl.worker_count == count


@pytest.mark.parametrize("profile", ["local", "dev", "staging", "prod"])
def test_a_profile_is_a_name_in_a_file(tmp_path: Path, profile: str) -> None:
    assert load_settings(written(tmp_path, f"profile: {profile}"), environ={}).profile == profile
    with pytest.raises(ConfigError, match="profile: Input should be 'local', 'dev', 'staging' or 'prod'"):
        load_settings(written(tmp_path, "profile: production"), environ={})


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""), environ={})
    with pytest.raises(ValidationError, match="frozen"):
        settings.etl.batch_size = 1  # type: ignore[misc]  # assigning is the case under test


def test_all_state_lies_below_the_home(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""), environ={"MARKETLAKE_HOME": str(tmp_path)})
    assert settings.lake_root == str(tmp_path / "delta_lake")
    assert {settings.dlq_folder, settings.logs_folder} == {tmp_path / "dlq", tmp_path / "logs"}


def test_a_bucket_stays_as_it_is(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "delta_lake: {storage_path: 's3://finance-lake'}"), environ={})
    assert settings.lake_root == "s3://finance-lake"


BAD_VALUES = {
    "exchanges.binance.timeframes.0: timeframe must be one of 1m, 5m": ("TIMEFRAMES", '["60"]'),
    "exchanges.binance.first_instant: instant must be a date like 2025-01-31": ("FIRST_INSTANT", "banana"),
    "exchanges.binance.rest_url: must be an address like https://api.example.com; was 'nonsense'": (
        "REST_URL", "nonsense",
    ),
    "exchanges.binance.futures_rest_url: must be an address": ("FUTURES_REST_URL", "http://[::1"),
    "exchanges.binance.archive_url: must be an address": ("ARCHIVE_URL", "http://host:port"),
    "exchanges.binance.ws_url: must be an address like wss://": ("WS_URL", "https://stream.example.com"),
}  # fmt: skip


def test_values_that_could_not_work_are_refused_at_the_start_all_at_once(tmp_path: Path) -> None:
    environ = {f"MARKETLAKE__EXCHANGES__BINANCE__{name}": value for name, value in BAD_VALUES.values()}
    environ |= {"MARKETLAKE__ETL__PROCESSING_INTERVAL": "often", "MARKETLAKE__SPARK__BACKEND": "standalone"}
    bound = '[{"symbol": "ETH/USDT", "low": 1, "high": 2, "valid_from": "soon"}]'
    environ["MARKETLAKE__QUALITY__PRICE_BOUNDS"] = bound
    with pytest.raises(ConfigError) as error:
        load_settings(written(tmp_path, ""), environ=environ)
    text = str(error.value)
    assert text.startswith(f"{len(BAD_VALUES) + 3} problem(s)")
    assert [part for part in BAD_VALUES if part not in text] == []
    assert "quality.price_bounds.0.valid_from: instant must be a date like" in text
    assert "etl.processing_interval: timeframe must be a number and m, h or d" in text
    assert "spark.master: must be spark://host:port where spark.backend is standalone; was 'local[2]'" in text


@pytest.mark.parametrize("address", ["http://127.0.0.1:8899", "https://api.example.com/base/", "http://[::1]:80"])
def test_an_exchange_can_be_any_server(tmp_path: Path, address: str) -> None:
    environ = {"MARKETLAKE__EXCHANGES__BINANCE__REST_URL": address}
    assert load_settings(written(tmp_path, ""), environ=environ).exchanges["binance"].rest_url == address


def test_an_address_that_may_be_left_out_may_be_empty_and_the_main_one_may_not(tmp_path: Path) -> None:
    name = "MARKETLAKE__EXCHANGES__BINANCE__"
    binance = load_settings(written(tmp_path, ""), environ={f"{name}FUTURES_REST_URL": ""}).exchanges["binance"]
    assert binance.futures_rest_url == ""
    with pytest.raises(ConfigError, match="rest_url: must be an address"):
        load_settings(written(tmp_path, ""), environ={f"{name}REST_URL": ""})


def test_a_variable_that_is_set_to_nothing_leaves_a_key_that_may_have_no_value_without_one(tmp_path: Path) -> None:
    path = written(tmp_path, "aws: {endpoint_url: 'http://localhost:4566'}\ndelta_lake: {storage_path: /lake}")
    environ = {"MARKETLAKE__AWS__ENDPOINT_URL": "", "MARKETLAKE__DELTA_LAKE__STORAGE_PATH": ""}
    settings = load_settings(path, environ=environ)
    assert (settings.aws.endpoint_url, settings.delta_lake.storage_path) == (None, "")


def test_a_date_without_quotes_is_a_date(tmp_path: Path) -> None:
    path = written(tmp_path, "exchanges: {binance: {first_instant: 2020-01-01}}")
    assert load_settings(path, environ={}).exchanges["binance"].first_instant == "2020-01-01"


@pytest.mark.parametrize(
    ("backend", "master"), [("local", "spark://host:7077"), ("standalone", "local"), ("local", "nearby")]
)
def test_a_master_that_is_not_the_back_ends_is_refused(tmp_path: Path, backend: str, master: str) -> None:
    with pytest.raises(ConfigError, match=r"spark\.master: must be"):
        load_settings(written(tmp_path, f"spark: {{backend: {backend}, master: '{master}'}}"), environ={})


def test_the_level_of_the_log_is_read_in_any_case(tmp_path: Path) -> None:
    path = written(tmp_path, "logging: {level: Warning}")
    assert load_settings(path, environ={}).logging.level == "warning"
    assert load_settings(path, environ={"LOG_LEVEL": "INFO"}).logging.level == "info"
    long = {"LOG_LEVEL": "INFO", "MARKETLAKE__LOGGING__LEVEL": "DEBUG"}
    assert load_settings(path, environ=long).logging.level == "debug"


@pytest.mark.parametrize("variables", [{}, {"MARKETLAKE__HOME": "/elsewhere"}])
def test_the_home_is_set_by_its_variable_alone(tmp_path: Path, variables: dict[str, str]) -> None:
    path = written(tmp_path, "" if variables else "home: /elsewhere")
    with pytest.raises(ConfigError, match="home: is set by the variable MARKETLAKE_HOME alone"):
        load_settings(path, environ={"MARKETLAKE_HOME": str(tmp_path), **variables})
