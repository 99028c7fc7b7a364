"""The Postgres server that marketlake runs for itself, under `<MARKETLAKE_HOME>/postgres`.

Owns the server's life: made at the first use, started when a command needs it, listening on 127.0.0.1 alone, stopped by
`marketlake down`. It outlives the command that started it, and the next command mends what a kill left behind. Schemas,
tables and roles belong to the ledger.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from marketlake.errors import ConfigError, SetupError, UnavailableError
from marketlake.postgres_programs import give_to_server_user, run_program
from marketlake.settings import Database, Settings

HOST = "127.0.0.1"
START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 60
_MIB = 1024 * 1024
# For bulk COPY on a small machine; every commit is still flushed to disk.
_SERVER_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "jit": "off",
    "log_checkpoints": "off",
}


@dataclass(frozen=True)
class PostgresAddress:
    """Where a Postgres server answers, and as whom to ask it."""

    host: str
    port: int
    database: str
    username: str
    password: str
    ssl_mode: str | None = None

    @property
    def url(self) -> str:
        """The address as `postgresql://user:password@host:port/database`."""
        user, password = quote(self.username, safe=""), quote(self.password, safe="")
        tail = f"?sslmode={self.ssl_mode}" if self.ssl_mode else ""
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{quote(self.database, safe='')}{tail}"

    def __repr__(self) -> str:
        return f"PostgresAddress({self.username}@{self.host}:{self.port}/{self.database})"


@dataclass(frozen=True)
class _Folder:
    """The files of one embedded server."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "log" / "server.log"

    @property
    def state(self) -> Path:
        return self.root / "server.json"


def ensure_running(settings: Settings) -> PostgresAddress:
    """Return the address of the settings' database; start (and at the first use make) the embedded server for it.

    With `database.embedded` false nothing is started and the settings' own address is returned. Costs milliseconds when
    the server runs. Safe when several processes call it at once.

    Raises:
        SetupError: the port is taken, the binaries are missing, or the server does not start (its log's end is quoted).
        ConfigError: user or password are not those with which the server was made.
    """
    wanted = settings.database
    if not wanted.embedded:
        return _address(wanted, host=wanted.host, port=wanted.port or 5432)
    folder = _Folder((settings.home / "postgres").resolve())
    port = _ready_port(folder)
    if port is None or wanted.database not in _known_databases(folder):
        with _locked(folder):
            port = _start(folder, wanted)
            _create_database(folder, _address(wanted, host=HOST, port=port))
    return _address(wanted, host=HOST, port=port)


def is_running(home: Path) -> bool:
    """Return whether the server of this home is up and accepts connections."""
    return _ready_port(_Folder((home / "postgres").resolve())) is not None


def stop(home: Path) -> bool:
    """Stop the server of this home and return whether there was one to stop; open transactions are rolled back."""
    folder = _Folder((home / "postgres").resolve())
    if not folder.data.is_dir():
        return False
    with _locked(folder):
        if _postmaster(folder) is None:
            return False
        done = run_program(
            "pg_ctl", ["stop", "-D", str(folder.data), "-m", "fast", "-t", str(STOP_TIMEOUT_SECONDS)], root=folder.root
        )
        if done.returncode:
            run_program("pg_ctl", ["stop", "-D", str(folder.data), "-m", "immediate"], root=folder.root)
        return True


def _address(wanted: Database, *, host: str, port: int) -> PostgresAddress:
    return PostgresAddress(host, port, wanted.database, wanted.username, wanted.password, wanted.ssl_mode)


def _pid_file(folder: _Folder) -> list[str]:
    try:
        return (folder.data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _postmaster(folder: _Folder) -> psutil.Process | None:
    """Return the live server process that `postmaster.pid` names; a reused process id does not count."""
    lines = _pid_file(folder)
    try:
        process = psutil.Process(int(lines[0]))
        if process.status() != psutil.STATUS_ZOMBIE and str(folder.data) in process.cmdline():
            return process
    except (IndexError, ValueError, psutil.NoSuchProcess):
        pass
    return None


def _ready_port(folder: _Folder) -> int | None:
    lines = _pid_file(folder)
    if len(lines) < 8 or lines[7].strip() != "ready" or _postmaster(folder) is None:
        return None
    return int(lines[3])


@contextmanager
def _locked(folder: _Folder) -> Iterator[None]:
    folder.root.mkdir(parents=True, exist_ok=True)
    with (folder.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _known_databases(folder: _Folder) -> list[str]:
    names = _read_state(folder).get("databases")
    return names if isinstance(names, list) else []


def _read_state(folder: _Folder) -> dict[str, object]:
    try:
        state = json.loads(folder.state.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(folder: _Folder, **changes: object) -> None:
    aside = folder.state.with_suffix(".new")
    aside.write_text(json.dumps({**_read_state(folder), **changes}) + "\n")
    aside.rename(folder.state)


def _start(folder: _Folder, wanted: Database) -> int:
    if _postmaster(folder) is not None:
        return _wait_until_ready(folder)
    if not (folder.data / "PG_VERSION").is_file():
        _make_data(folder, wanted)
    _clear_remains(folder)
    port = _choose_port(folder, wanted)
    options = {**_SERVER_OPTIONS, "port": str(port), **_parallelism()}
    flags = " ".join(f"-c {name}='{value}'" for name, value in options.items())
    folder.log.parent.mkdir(exist_ok=True)
    give_to_server_user(folder.log.parent)
    wait = ["-w", "-t", str(START_TIMEOUT_SECONDS)]
    done = run_program(
        "pg_ctl", ["start", "-D", str(folder.data), "-l", str(folder.log), *wait, "-o", flags], root=folder.root
    )
    if done.returncode:
        raise SetupError(f"the embedded Postgres under {folder.root} did not start; {_log_end(folder)}")
    _write_state(folder, port=port)
    return port


def _wait_until_ready(folder: _Folder) -> int:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        port = _ready_port(folder)
        if port is not None:
            return port
        if _postmaster(folder) is None:
            break
        time.sleep(0.1)
    raise SetupError(f"the embedded Postgres under {folder.root} is there but does not get ready; {_log_end(folder)}")


def _make_data(folder: _Folder, wanted: Database) -> None:
    """Run initdb aside and rename, so that an interrupted one leaves nothing that looks finished."""
    if folder.data.exists():
        raise SetupError(f"{folder.data} is there but holds no Postgres data; move it away and repeat the command")
    for leftover in folder.root.glob("data.new-*"):
        shutil.rmtree(leftover)
    aside = Path(tempfile.mkdtemp(prefix="data.new-", dir=folder.root))
    give_to_server_user(aside)
    with tempfile.NamedTemporaryFile("w", dir=folder.root, prefix=".password-") as password:
        password.write(wanted.password + "\n")
        password.flush()
        give_to_server_user(Path(password.name))
        names = ["-U", wanted.username, "--pwfile", password.name, "-A", "scram-sha-256"]
        done = run_program("initdb", ["-D", str(aside), *names, "--no-locale", "-E", "UTF8"], root=folder.root)
    if done.returncode:
        shutil.rmtree(aside, ignore_errors=True)
        raise SetupError(f"making the embedded Postgres under {folder.root} failed: {done.stderr.strip()}")
    aside.rename(folder.data)


def _clear_remains(folder: _Folder) -> None:
    """End workers that outlived a killed server and forget a process id that is now somebody else's."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if process.info["name"] == "postgres" and Path(process.cwd()) == folder.data:
                process.send_signal(signal.SIGKILL)
                process.wait(timeout=10)
    lines = _pid_file(folder)
    if lines and lines[0].strip().isdigit() and psutil.pid_exists(int(lines[0])):
        (folder.data / "postmaster.pid").unlink(missing_ok=True)


def _choose_port(folder: _Folder, wanted: Database) -> int:
    if wanted.port:
        if not _is_free(wanted.port):
            raise SetupError(
                f"port {wanted.port} on {HOST} is in use by another program; set database.port "
                "(MARKETLAKE__DATABASE__PORT) to a free one, or to 0 to have one picked"
            )
        return wanted.port
    remembered = _read_state(folder).get("port")
    if isinstance(remembered, int) and _is_free(remembered):
        return remembered
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        with socket.create_server((HOST, port)):
            return True
    except OSError:
        return False


def _parallelism() -> dict[str, str]:
    # Parallel queries need shared memory; containers often have 64 MB of it, and a query then dies half-way.
    shared = Path("/dev/shm")
    has_room = not shared.is_dir() or shutil.disk_usage(shared).total >= 512 * _MIB
    return {} if has_room else {"max_parallel_workers_per_gather": "0"}


def _create_database(folder: _Folder, address: PostgresAddress) -> None:
    import psycopg  # here: the usual call finds a running server and needs no driver
    from psycopg import sql

    admin = PostgresAddress(address.host, address.port, "postgres", address.username, address.password)
    try:
        with psycopg.connect(admin.url, autocommit=True, connect_timeout=10) as connection:
            names = [row[0] for row in connection.execute("select datname from pg_database").fetchall()]
            if address.database not in names:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(address.database)))
                names.append(address.database)
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise ConfigError(
                f"the embedded Postgres under {folder.root} was made with another database.username or "
                f"database.password than the settings have now ({address.username}); set them back"
            ) from None
        raise UnavailableError(f"the embedded Postgres at {HOST}:{address.port} does not answer: {error}") from None
    _write_state(folder, databases=sorted(names))


def _log_end(folder: _Folder) -> str:
    try:
        lines = folder.log.read_text(errors="replace").splitlines()[-5:]
    except FileNotFoundError:
        return "it wrote no log"
    return "\n".join([f"the end of {folder.log}:", *lines])
