"""Airflow on this machine: started, found again, stopped. Its four processes outlive the command that starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from marketlake.cli.airflow_api import AirflowApi
from marketlake.cli.airflow_files import (
    HOST,
    USER,
    AirflowFiles,
    airflow_environment,
    airflow_port,
    airflow_program,
    database_url,
)
from marketlake.cli.processes import Background, RunFile, log_end, start_background, stop_background
from marketlake.errors import SetupError
from marketlake.settings import Settings

COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
START_SECONDS = 180.0
_HEALTHY = ("metadatabase", "scheduler", "triggerer", "dag_processor")
Say = Callable[[str], None]


@dataclass(frozen=True)
class AirflowServer:
    """A running Airflow: its address and the password of the user `admin`."""

    url: str
    password: str

    def api(self) -> AirflowApi:
        """Return its REST API."""
        return AirflowApi(self.url, USER, self.password)


def start_airflow(settings: Settings, *, say: Say, overrides: Mapping[str, str] | None = None) -> AirflowServer:
    """Return the running Airflow of this home; start it where it does not run, and wait until all of it is healthy.

    `overrides` are variables for its processes alone. What was started with others is started again.

    Raises:
        SetupError: the port is taken, the environment is missing, or a component ends or does not get healthy in time.
    """
    files, run_file = AirflowFiles(settings.home), _run_file(settings)
    environment = {**airflow_environment(settings), **(overrides or {})}
    port = airflow_port(environment)
    server = AirflowServer(f"http://{HOST}:{port}", files.password())
    facts = {"port": port, "overrides": dict(overrides or {})}
    processes, known_facts = run_file.read()
    if processes and known_facts == facts and all(item.find() for item in processes) and _is_healthy(server.api()):
        say(f"Airflow runs already at {server.url}")
        return server
    if stop_background(processes):
        say("Airflow runs only in part, or with other settings; it is started again")
    _check_port(port)
    _prepare_database(settings, environment, say)
    say("starting Airflow: web server, scheduler, DAG processor, triggerer")
    processes = [_start(name, arguments, files, environment) for name, arguments in COMPONENTS.items()]
    run_file.write(processes, facts)
    _wait_until_healthy(server.api(), processes, files)
    return server


def stop_airflow(settings: Settings) -> bool:
    """Stop Airflow, its tasks and their steps; return whether there was anything to stop."""
    run_file = _run_file(settings)
    processes, _ = run_file.read()
    was_running = stop_background(processes)
    run_file.forget()
    return was_running


def airflow_command(settings: Settings, arguments: list[str]) -> int:
    """Run Airflow's own command line against this home; return its exit code."""
    return subprocess.run([str(airflow_program()), *arguments], env=airflow_environment(settings)).returncode


def _run_file(settings: Settings) -> RunFile:
    return RunFile(settings.home / "run" / "airflow.json")


def _start(name: str, arguments: tuple[str, ...], files: AirflowFiles, environment: Mapping[str, str]) -> Background:
    command = [str(airflow_program()), *arguments]
    return start_background(name, command, environment=environment, log=files.log(name))


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise SetupError(
                f"port {port} on {HOST} is in use by another program; stop that, or choose another port for Airflow: "
                "AIRFLOW__API__PORT=8090"
            ) from None


def _prepare_database(settings: Settings, environment: Mapping[str, str], say: Say) -> None:
    """Bring Airflow's tables to its version; a database that is there already costs no Airflow start."""
    marker = AirflowFiles(settings.home).folder / "database.json"
    version = _airflow_version()
    try:
        known = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    revision = _revision(settings)
    if revision is not None and known == {"airflow": version, "revision": revision}:
        return
    say("preparing Airflow's database")
    log = AirflowFiles(settings.home).log("migrate")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [str(airflow_program()), "db", "migrate"], env=dict(environment), stdout=output, stderr=subprocess.STDOUT
        )
    if done.returncode:
        raise SetupError(f"preparing Airflow's database failed; the end of {log}:\n{log_end(log)}")
    aside = marker.with_suffix(".new")
    aside.write_text(json.dumps({"airflow": version, "revision": _revision(settings)}) + "\n", encoding="utf-8")
    aside.rename(marker)


def _revision(settings: Settings) -> str | None:
    import psycopg

    with psycopg.connect(database_url(settings), autocommit=True) as connection:
        row = connection.execute("select to_regclass('alembic_version') is not null").fetchone()
        if row is None or not row[0]:
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else None


def _airflow_version() -> str:
    found = airflow_program().parents[1].glob("lib/python*/site-packages/apache_airflow_core-*.dist-info")
    return next((path.name for path in found), "unknown")


def _is_healthy(api: AirflowApi) -> bool:
    health = api.health()
    return all(health.get(name) == "healthy" for name in _HEALTHY)


def _wait_until_healthy(api: AirflowApi, processes: list[Background], files: AirflowFiles) -> None:
    deadline = time.monotonic() + START_SECONDS
    is_warm = False
    while time.monotonic() < deadline:
        if not is_warm and api.health():
            is_warm = api.warm_up()
        if is_warm and _is_healthy(api):
            return
        for item in processes:
            if item.find() is None:
                log = files.log(item.name)
                stop_background(processes)
                raise SetupError(f"Airflow's {item.name} ended while starting; the end of {log}:\n{log_end(log)}")
        time.sleep(0.5)
    health = api.health() or "the web server does not answer"
    stop_background(processes)
    raise SetupError(
        f"Airflow was not healthy after {START_SECONDS:.0f} s ({health}); its logs are in {files.log('x').parent}, "
        f"this machine has {os.cpu_count()} cores"
    )
