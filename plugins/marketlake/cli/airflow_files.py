"""Airflow's environment on this machine: where its files lie, its keys, its address, its database."""

from __future__ import annotations

import base64
import configparser
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from marketlake import embedded_postgres
from marketlake.errors import SetupError, UsageError
from marketlake.settings import Settings

HOST = "127.0.0.1"
USER = "admin"
DATABASE = "airflow"
ROOT = Path(__file__).resolve().parents[3]
# What belongs to the library's interpreter and must not reach Airflow's.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@dataclass(frozen=True)
class AirflowFiles:
    """The files of one home's Airflow."""

    home: Path

    @property
    def folder(self) -> Path:
        """AIRFLOW_HOME: keys, passwords, task logs."""
        return self.home / "airflow"

    @property
    def passwords(self) -> Path:
        """Where the password of the user `admin` stands."""
        return self.folder / "passwords.json"

    def log(self, component: str) -> Path:
        """The log of one component."""
        return self.home / "logs" / "airflow" / f"{component}.log"

    def password(self) -> str:
        """Return admin's password; made at the first call."""
        return _remembered(self.passwords, {USER: secrets.token_urlsafe(12)})[USER]

    def keys(self) -> dict[str, str]:
        """Return the keys that Airflow signs and encrypts with; made at the first call."""
        return _remembered(
            self.folder / "keys.json",
            {
                "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
                "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            },
        )


def airflow_program() -> Path:
    """Return Airflow's command in its own environment.

    Raises:
        SetupError: the environment is not there.
    """
    program = ROOT / ".venv" / "airflow" / "bin" / "airflow"
    if not program.is_file():
        raise SetupError(f"{program} is not there; run make setup")
    return program


def airflow_port(environ: Mapping[str, str]) -> int:
    """Return the web server's port: `AIRFLOW__API__PORT`, else that of airflow.cfg.

    Raises:
        UsageError: the variable is not a port.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "airflow.cfg", encoding="utf-8")
    text = environ.get("AIRFLOW__API__PORT") or parser.get("api", "port")
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise UsageError(f"AIRFLOW__API__PORT must be a port from 1 to 65535; was {text!r}")
    return int(text)


def airflow_environment(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of Airflow's processes; starts the embedded Postgres, which holds Airflow's database.

    What the caller's environment says as `AIRFLOW__SECTION__KEY` wins.

    Raises:
        SetupError: Postgres does not start.
    """
    environ = os.environ if environ is None else environ
    files, port = AirflowFiles(settings.home), airflow_port(environ)
    files.folder.mkdir(parents=True, exist_ok=True)
    files.password()
    url = f"http://{HOST}:{port}"
    ours = {
        "MARKETLAKE_ROOT": str(ROOT),
        "MARKETLAKE_HOME": str(settings.home),
        "AIRFLOW_HOME": str(files.folder),
        "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url(settings).replace(
            "postgresql://", "postgresql+psycopg2://"
        ),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "TZ": "UTC",
        **files.keys(),
    }
    kept = {name: value for name, value in environ.items() if name not in _FOREIGN}
    kept["PATH"] = os.pathsep.join([str(airflow_program().parent), kept.get("PATH", os.defpath)])
    return {**ours, **kept, **{name: ours[name] for name in ("MARKETLAKE_ROOT", "MARKETLAKE_HOME", "TZ")}}


def database_url(settings: Settings) -> str:
    """Return the address of Airflow's own database, beside the lake's in the same server."""
    database = settings.database.model_copy(update={"database": DATABASE})
    return embedded_postgres.ensure_running(settings.model_copy(update={"database": database})).url


def _remembered(path: Path, made: dict[str, str]) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    if isinstance(known, dict) and set(made) <= set(known):
        return {name: str(value) for name, value in known.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.touch(mode=0o600)
    aside.write_text(json.dumps({**made, **known}) + "\n", encoding="utf-8")
    aside.rename(path)
    return {**made, **known}
