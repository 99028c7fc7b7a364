"""A session where dbt's environment is missing: only what needs it says so."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import psycopg
import pytest

from marketlake.errors import SetupError
from marketlake.ledger import Run
from marketlake.pipeline.building import get_dbt_ready
from marketlake.pipeline.call import StepCall
from marketlake.publish.dbt_session import DbtSession
from marketlake.settings import load_settings


def test_a_run_goes_on_until_it_needs_the_dbt_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketlake.publish.dbt_session.PYTHON", tmp_path / "none")
    settings = load_settings(environ={"MARKETLAKE_HOME": str(tmp_path), "MARKETLAKE__DATABASE__EMBEDDED": "false"})
    with DbtSession(settings) as session:
        get_dbt_ready(StepCall(settings, cast(psycopg.Connection, None), cast(Run, None), dbt=session))
        with pytest.raises(SetupError, match="run make setup"):
            session.call(["run"], results=tmp_path / "results.json")
