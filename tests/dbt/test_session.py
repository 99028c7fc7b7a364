"""One dbt process for several commands: what it keeps, what it leaves alone, and what replaces it when it is gone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from marketlake.errors import DataError, MarketlakeError
from marketlake.publish.dbt import row_rules
from marketlake.publish.dbt_process import run_dbt
from marketlake.publish.dbt_session import DbtSession
from tests.dbt.warehouse import Warehouse

VIEWS = ("run", "--select", "path:models/staging")
# What dbt keeps of a model when it parses, and would have to parse again for other variables.
SHAPE = ("unique_id", "config", "depends_on", "tags", "original_file_path")


@pytest.fixture(scope="module", autouse=True)
def built(warehouse: Warehouse) -> None:
    """The views of staging, built in a process of its own."""
    warehouse.dbt(*VIEWS)


@pytest.fixture
def session(warehouse: Warehouse) -> Iterator[DbtSession]:
    with DbtSession(warehouse.settings) as opened:
        yield opened


def processes() -> list[psutil.Process]:
    """Return the dbt processes that this one has started and that live."""
    found = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in found if any("session.py" in part for part in child.cmdline())]


def shapes(session: DbtSession, folder: Path, **variables: object) -> list[dict[str, object]]:
    """Return what dbt keeps of each node when it parses with these variables."""
    wanted = ("--output", "json", "--output-keys", *SHAPE, "--vars", json.dumps(variables), "--no-partial-parse")
    code, said = session.call(("--quiet", "ls", *wanted), results=folder / "none.json", parses_anew=True)
    assert code == 0, said
    return [json.loads(line) for line in said if line.startswith("{")]


def test_commands_share_a_process_that_ends_with_the_session(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DbtSession(warehouse.settings) as session:
        session.start()
        [first] = processes()
        for turn in ("first", "second"):
            monkeypatch.setenv("OF_ANOTHER_LIBRARY", turn)  # as some set when they are imported
            assert len(run_dbt(warehouse.settings, VIEWS, session=session).statuses) >= 4
        assert processes() == [first]
    assert processes() == []


def test_a_command_that_fails_leaves_the_next_one_as_it_would_be(warehouse: Warehouse, session: DbtSession) -> None:
    tests, rules = ("test", "--select", "stg_bronze__funding_rates"), {"row_rules": row_rules()}
    with pytest.raises(DataError, match="no row rules of funding_rates were handed over"):
        run_dbt(warehouse.settings, tests, session=session)
    with pytest.raises(DataError, match="No such option"):
        run_dbt(warehouse.settings, ("run", "--no-such-option"), session=session)
    statuses = run_dbt(warehouse.settings, tests, variables=rules, session=session).statuses
    assert {*statuses.values()} == {"pass", "success"}
    assert (warehouse.settings.logs_folder / "dbt" / "dbt.log").is_file()


def test_a_process_that_ended_between_two_commands_is_replaced(warehouse: Warehouse, session: DbtSession) -> None:
    run_dbt(warehouse.settings, VIEWS, session=session)
    [gone] = processes()
    gone.kill()
    gone.wait()
    assert run_dbt(warehouse.settings, VIEWS, session=session).statuses
    assert processes() != [gone]


def test_a_process_that_is_killed_at_work_fails_its_command_and_not_the_next(
    warehouse: Warehouse, session: DbtSession
) -> None:
    session.start()
    [victim] = processes()
    failures: list[MarketlakeError] = []

    def run() -> None:
        try:
            run_dbt(warehouse.settings, VIEWS, session=session)
        except MarketlakeError as error:
            failures.append(error)

    with warehouse.connection.transaction(force_rollback=True):
        warehouse.connection.execute("lock table ops.publications in access exclusive mode")
        thread = threading.Thread(target=run)
        thread.start()
        while not warehouse.rows("select 1 from pg_locks where not granted") and thread.is_alive():
            threading.Event().wait(0.05)
        victim.kill()
        thread.join()
    [failure] = failures
    assert type(failure) is MarketlakeError
    assert failure.is_retryable
    assert run_dbt(warehouse.settings, VIEWS, session=session).statuses


def test_variables_do_not_change_what_dbt_parses(warehouse: Warehouse, session: DbtSession, tmp_path: Path) -> None:
    """A session parses without them."""
    given = {"pinned_publication_id": 7, "window_end": "2025-01-02T00:00:00Z", "row_rules": row_rules()}
    without = shapes(session, tmp_path)
    assert len(without) > 80
    assert shapes(session, tmp_path, **given) == without
