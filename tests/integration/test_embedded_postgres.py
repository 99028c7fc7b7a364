"""Tests for ``marketlake.embedded_postgres``, against the real server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from marketlake.embedded_postgres import PostgresAddress, ensure_running, is_running, stop
from marketlake.errors import ConfigError, SetupError
from marketlake.settings import Settings, load_settings


@pytest.fixture
def server_home(home: Path) -> Iterator[Path]:
    yield home
    stop(home)


def settings_for(home: Path, **database: object) -> Settings:
    variables = {f"MARKETLAKE__DATABASE__{key.upper()}": str(value) for key, value in database.items()}
    return load_settings(environ={"MARKETLAKE_HOME": str(home), **variables})


def postmaster_pid(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def answer(address: PostgresAddress, query: str) -> object:
    with psycopg.connect(address.url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def test_server_is_made_at_the_first_use_and_keeps_its_data_over_a_stop(server_home: Path) -> None:
    settings = settings_for(server_home)
    first = ensure_running(settings)
    with psycopg.connect(first.url) as connection:
        connection.execute("create table kept as select 42 as answer")

    assert stop(server_home)
    assert not is_running(server_home)
    again = ensure_running(settings)

    assert answer(again, "select answer from kept") == 42
    assert again == first, "the port is remembered"
    assert answer(again, "show fsync") == "on"
    assert answer(again, "show timezone") == "UTC"


def test_server_listens_on_the_loopback_address_alone_and_asks_for_the_password(server_home: Path) -> None:
    address = ensure_running(settings_for(server_home, password="a 'quoted' p@ss"))

    listening = {
        connection.laddr.ip
        for connection in psutil.Process(postmaster_pid(server_home)).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    wrong = settings_for(server_home, password="guess", database="another")
    with pytest.raises(ConfigError, match="database.password"):
        ensure_running(wrong)
    assert answer(address, "select 1") == 1


def test_server_outlives_kill_9_of_its_postmaster_without_losing_a_commit(server_home: Path) -> None:
    settings = settings_for(server_home)
    address = ensure_running(settings)
    with psycopg.connect(address.url) as connection:
        connection.execute("create table kept as select 42 as answer")
    busy = psycopg.connect(address.url, autocommit=True)
    postmaster = psutil.Process(postmaster_pid(server_home))
    postmaster.kill()
    postmaster.wait(timeout=30)  # the signal is sent at once, but takes its time to end the server

    again = ensure_running(settings)

    assert answer(again, "select answer from kept") == 42
    busy.close()


def test_process_id_of_another_program_in_a_stale_pid_file_is_not_believed(server_home: Path) -> None:
    settings = settings_for(server_home)
    ensure_running(settings)
    stop(server_home)
    data = server_home / "postgres" / "data"
    sleeper = subprocess.Popen(["sleep", "60"], **({"user": data.stat().st_uid} if os.geteuid() == 0 else {}))
    (data / "postmaster.pid").write_text(f"{sleeper.pid}\n{data}\n1\n5432\n\n127.0.0.1\n  1 1\nready   \n")
    try:
        assert not is_running(server_home)
        assert answer(ensure_running(settings), "select 1") == 1
        assert sleeper.poll() is None, "a program that is not ours is left alone"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_two_processes_that_start_it_at_once_get_the_same_server(server_home: Path) -> None:
    program = (
        "from marketlake.embedded_postgres import ensure_running; from marketlake.settings import load_settings\n"
        "print(ensure_running(load_settings()).port)"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "plugins")}
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environ)
        for _ in range(3)
    ]

    ports = {process.communicate(timeout=120)[0] for process in started}

    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(ports) == 1


def test_port_in_use_is_one_clear_error(server_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SetupError, match=rf"port {port} .* is in use.*MARKETLAKE__DATABASE__PORT"):
            ensure_running(settings_for(server_home, port=port))


def test_interrupted_initdb_leaves_nothing_that_the_next_start_does_not_clear(server_home: Path) -> None:
    half = server_home / "postgres" / "data.new-killed"
    (half / "base").mkdir(parents=True)

    ensure_running(settings_for(server_home))

    assert not half.exists()


def test_log_is_quoted_when_the_server_does_not_start(server_home: Path) -> None:
    settings = settings_for(server_home)
    ensure_running(settings)
    stop(server_home)
    (server_home / "postgres" / "data" / "global" / "pg_control").write_bytes(b"")

    with pytest.raises(SetupError, match=r"(?s)did not start; the end of .*server\.log:\n.*pg_control"):
        ensure_running(settings)


def test_second_database_is_made_in_the_running_server(server_home: Path) -> None:
    first = ensure_running(settings_for(server_home))

    second = ensure_running(settings_for(server_home, database='odd "name"'))

    assert second.port == first.port
    assert answer(second, "select current_database()") == 'odd "name"'


def test_running_server_is_found_in_milliseconds(server_home: Path) -> None:
    settings = settings_for(server_home)
    started = time.monotonic()
    ensure_running(settings)
    start_seconds = time.monotonic() - started

    started = time.monotonic()
    ensure_running(settings)

    assert time.monotonic() - started < start_seconds / 5


def test_server_that_is_not_embedded_is_neither_started_nor_asked(home: Path) -> None:
    address = ensure_running(settings_for(home, embedded="false", host="db.example", port=0, ssl_mode="require"))

    assert address.url == "postgresql://postgres:postgres@db.example:5432/bitcoin_db?sslmode=require"
    assert "postgres:postgres@" not in repr(address)
    assert not (home / "postgres").exists()
    assert stop(home) is False
