"""Tests for ``marketlake.cli.doctor``, each check against the real thing that it looks at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketlake import java
from marketlake.cli import main
from marketlake.cli.doctor_checks import check_delta
from marketlake.embedded_postgres import PostgresAddress
from marketlake.sandbox import Sandbox, SyntheticMarket
from marketlake.settings import load_settings

BINANCE = "MARKETLAKE__EXCHANGES__BINANCE__REST_URL"


@pytest.fixture
def sandbox(postgres: PostgresAddress, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(SyntheticMarket()) as server:
        monkeypatch.setenv(BINANCE, server.url)
        yield server


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the command and return its exit code and the checks by name."""
    code = main(["doctor", "--json", *arguments])
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] == (code == 0)
    return code, {check["name"]: check for check in document["checks"]}


def test_healthy_machine_passes_every_check(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    code, checks = doctor(capsys, "--quick")

    assert {name: check["advice"] for name, check in checks.items() if check["status"] == "failed"} == {}
    assert code == 0
    assert list(checks) == ["packages", "java", "storage", "database", "exchange binance", "clock of binance"]
    assert "synthetic" in checks["exchange binance"]["found"]


def test_people_get_a_table_and_what_to_do(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.set_clock("2021-04-20T00:00:00Z")

    assert main(["doctor", "--quick"]) == 1

    shown = capsys.readouterr().out
    assert "more than 30 s stops a run; synchronise the time" in shown
    assert shown.rstrip().endswith("1 of 6 checks failed")


def test_clock_that_runs_follow_may_be_far_away(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.set_clock("2021-04-20T00:00:00Z")
    monkeypatch.setenv("MARKETLAKE__CLOCK__SOURCE", "exchange")

    code, checks = doctor(capsys, "--quick")

    assert code == 0
    assert "runs follow the exchange's clock" in checks["clock of binance"]["found"]


def test_unreachable_exchange_is_named_once_with_what_to_do(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINANCE, "http://127.0.0.1:9")

    code, checks = doctor(capsys, "--quick")

    assert code == 1
    assert checks["exchange binance"]["advice"].startswith("http://127.0.0.1:9 does not answer: ")
    assert "rest_url" in checks["exchange binance"]["advice"]
    assert checks["clock of binance"]["status"] == "warning"


def test_unreachable_database_is_named_with_the_settings_to_look_at(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETLAKE__DATABASE__PORT", "9")

    code, checks = doctor(capsys, "--quick")

    assert code == 1
    assert "127.0.0.1:9" in checks["database"]["advice"]
    assert "check database.host, port" in checks["database"]["advice"]
    assert "postgres:postgres" not in checks["database"]["advice"]


def test_java_of_a_wrong_version_is_named(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "java" / "bin").mkdir(parents=True)
    (tmp_path / "java" / "bin" / "java").write_text("")
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="11.0.2"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))

    code, checks = doctor(capsys, "--quick")

    assert code == 1
    assert "is Java 11, and Spark needs Java 17 or 21" in checks["java"]["advice"]


def test_storage_that_cannot_be_written_is_named(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MARKETLAKE__DELTA_LAKE__STORAGE_PATH", str(tmp_path / "file"))

    code, checks = doctor(capsys, "--quick")

    assert code == 1
    assert f"{tmp_path}/file cannot be written" in checks["storage"]["advice"]


def test_package_of_another_version_is_named_with_both_versions(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")

    code, checks = doctor(capsys, "--quick")

    assert code == 1
    assert "polars 0.0.1 instead of 2." in checks["packages"]["advice"]
    assert checks["packages"]["advice"].endswith("run make setup")


@pytest.mark.spark
def test_spark_writes_a_table_that_is_read_without_it_and_nothing_stays(home: Path) -> None:
    settings = load_settings()

    finding = check_delta(settings)

    assert "3 rows are read without Spark" in finding.found
    assert os.listdir(settings.lake_root) == []


def test_missing_jars_are_named(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(java, "JARS_FOLDER", tmp_path)

    code, checks = doctor(capsys)

    assert code == 1
    assert {name for name, check in checks.items() if check["status"] == "failed"} == {"java", "delta"}
    assert "run make setup" in checks["delta"]["advice"]
