"""What keeps the demo and Airflow from starting is one clear error, before anything is started."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from marketlake.cli import airflow_files, main
from marketlake.cli.demo import MARKET_VARIABLE
from marketlake.embedded_postgres import PostgresAddress
from marketlake.ledger import claim_market, connect
from marketlake.settings import load_settings

pytestmark = pytest.mark.usefixtures("postgres")


def errors_of(capsys: pytest.CaptureFixture[str], *arguments: str, code: int) -> str:
    assert main(list(arguments)) == code
    return capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["moon", "synthetic:seven", "live:1", "auto:2"])
def test_a_market_that_does_not_exist_is_refused_with_those_that_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    monkeypatch.setenv(MARKET_VARIABLE, wanted)

    said = errors_of(capsys, "demo", code=2)

    assert f"synthetic:<seed> or recorded:<folder>; was '{wanted}'" in said


def test_a_recorded_market_without_its_folder_says_how_to_name_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MARKETLAKE_TEST_DATA", raising=False)

    assert "MARKETLAKE_DEMO_MARKET=recorded:<folder>" in errors_of(capsys, "demo", "--market", "recorded", code=2)
    said = errors_of(capsys, "demo", "--market", f"recorded:{tmp_path}", code=2)
    assert f"{tmp_path} holds no recorded market" in said


@pytest.mark.parametrize(
    ("known", "wanted"), [("synthetic:5", "synthetic:6"), ("live", "synthetic"), ("recorded", "live")]
)
def test_a_lake_of_another_market_is_left_alone(
    capsys: pytest.CaptureFixture[str], home: Path, known: str, wanted: str
) -> None:
    with connect(load_settings()) as connection:
        claim_market(connection, known)

    said = errors_of(capsys, "demo", "--market", wanted, code=2)

    assert f"this lake holds data of the market '{known}'" in said
    assert f"MARKETLAKE_HOME (now {home})" in said
    assert not (home / "market.json").exists()


def test_a_port_in_use_is_named_with_the_setting_that_chooses_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, postgres: PostgresAddress
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("AIRFLOW__API__PORT", str(port))

        said = errors_of(capsys, "up", code=1)

    assert f"port {port} on 127.0.0.1 is in use by another program" in said
    assert "AIRFLOW__API__PORT=8090" in said


def test_a_port_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__PORT", "80800")

    assert "must be a port from 1 to 65535; was '80800'" in errors_of(capsys, "up", code=2)


def test_an_airflow_that_was_not_set_up_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(airflow_files, "ROOT", tmp_path)
    monkeypatch.setenv("AIRFLOW__API__PORT", "18081")

    said = errors_of(capsys, "up", code=1)

    assert f"{tmp_path}/.venv/airflow/bin/airflow is not there; run make setup" in said
