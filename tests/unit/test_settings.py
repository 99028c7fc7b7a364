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
    environ = {"DB_PASSWORD": "hunter2", "MARKETLAKE__ALERTS__WEBHOOK_URL": "https://hooks.example/hunter2"}
    assert "hunter2" not in f"{load_settings(environ=environ)!r} {load_settings(environ=environ)}"
    with pytest.raises(ConfigError, match=r"database\.password") as error:
        load_settings(environ={"MARKETLAKE__DATABASE__PASSWORD": '["hunter2"]'})
    assert "hunter2" not in str(error.value)


def test_a_file_of_ones_own_beside_the_shipped_one_is_read_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    monkeypatch.setattr("marketlake.settings.__file__", str(tmp_path / "plugins" / "marketlake" / "settings.py"))
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
