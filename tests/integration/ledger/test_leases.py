"""Tests for ``marketlake.ledger.leases``."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from marketlake.embedded_postgres import PostgresAddress
from marketlake.errors import UnavailableError
from marketlake.ledger import table_lease
from marketlake.settings import Settings
from tests.databases import environment_of
from tests.subprocesses import with_library

HOLDER = (
    "import time\n"
    "from marketlake.ledger import table_lease\n"
    "from marketlake.settings import load_settings\n"
    "with table_lease(load_settings(), 'bronze.ohlcv'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(300)\n"
)


def test_one_writer_at_a_time_and_other_tables_are_free(settings: Settings) -> None:
    order = []

    def second() -> None:
        with table_lease(settings, "bronze.ohlcv"):
            order.append("second")

    with table_lease(settings, "bronze.ohlcv") as lease:
        waiting = threading.Thread(target=second)
        waiting.start()
        with table_lease(settings, "bronze.funding_rates", wait_seconds=1):
            time.sleep(0.5)
        lease.check()
        order.append("first")
    waiting.join(10)

    assert order == ["first", "second"]


def test_whoever_waits_too_long_is_told_who_holds_it(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with table_lease(settings, "bronze.ohlcv"):
        expected = r"\(database backend \d+\) has held the lease of bronze.ohlcv for \d s"
        with pytest.raises(UnavailableError, match=expected), table_lease(settings, "bronze.ohlcv", wait_seconds=1.5):
            pass

    assert "waiting for the lease of bronze.ohlcv" in caplog.text


def test_a_killed_holder_loses_its_lease(settings: Settings, postgres_of_module: PostgresAddress, home: Path) -> None:
    environment = with_library(**environment_of(postgres_of_module), MARKETLAKE_HOME=str(home))
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UnavailableError), table_lease(settings, "bronze.ohlcv", wait_seconds=0.5):
        pass

    holder.send_signal(signal.SIGKILL)
    holder.wait(10)

    with table_lease(settings, "bronze.ohlcv", wait_seconds=20):
        pass


def test_a_lease_whose_connection_broke_is_known_to_be_lost(settings: Settings, connection: psycopg.Connection) -> None:
    with table_lease(settings, "bronze.ohlcv") as lease:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s",
            ["marketlake lease of bronze.ohlcv"],
        )
        with pytest.raises(UnavailableError, match="the lease of bronze.ohlcv was lost"):
            lease.check()
