"""The checks of `marketlake doctor`: each looks at one thing for real and says what it found."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marketlake.embedded_postgres import ensure_running
from marketlake.errors import MarketlakeError, SetupError, UnavailableError
from marketlake.exchanges.budget import LocalBudget
from marketlake.exchanges.clock import ClockReading, measure_clock
from marketlake.exchanges.http import Requester, http_client
from marketlake.exchanges.registry import exchange_named
from marketlake.instants import OffsetClock
from marketlake.java import REPOSITORY, appcds_archive, jars, java_home, java_major
from marketlake.settings import Settings
from marketlake.spark_submit import spark_submit_command

_GIB = 1024**3
ROOM_WANTED_BYTES = 5 * _GIB
ROOM_NEEDED_BYTES = _GIB // 2
EXCHANGE_TIMEOUT_SECONDS = 10.0
SPARK_TIMEOUT_SECONDS = 180
ENVIRONMENTS = {"spark": "spark_jobs", "airflow": ".", "dbt": "dbt_project"}


@dataclass(frozen=True)
class Finding:
    """What a check saw; `advice` says what to do where something is to be done."""

    found: str
    advice: str = ""
    status: str = "ok"


Check = Callable[[Settings], Finding]


def checks_of(settings: Settings, *, with_spark: bool = True) -> list[tuple[str, Check]]:
    """Return the checks by name, in the order in which one depends on another."""
    named: list[tuple[str, Check]] = [("packages", check_packages), ("java", check_java), ("storage", check_storage)]
    if with_spark:
        named.append(("delta", check_delta))
    named.append(("database", check_database))
    for exchange, section in settings.exchanges.items():
        if section.enabled:
            seen = _Exchange(exchange)
            named += [(f"exchange {exchange}", seen.check_reach), (f"clock of {exchange}", seen.check_clock)]
    return named


def check_packages(settings: Settings) -> Finding:
    """Compare what is installed with the lock files, here in full and for the other environments by their stamps."""
    locked = _pins(REPOSITORY / "spark_jobs" / "requirements.lock")
    wanted = _requirement_names(REPOSITORY / "spark_jobs" / "requirements.txt")
    wrong = [
        f"{name} {_installed(name)} instead of {locked[name]}" for name in wanted if _installed(name) != locked[name]
    ]
    stale = [name for name in ENVIRONMENTS if not (REPOSITORY / ".venv" / name / ".complete").is_file()]
    found = f"Python {platform.python_version()}, {len(wanted) - len(wrong)} of {len(wanted)} packages as locked"
    if wrong or stale:
        missing = [*wrong, *(f"environment .venv/{name} is not complete" for name in stale)]
        return Finding(found, f"{'; '.join(missing)}; run make setup", "failed")
    return Finding(f"{found}; environments {', '.join(ENVIRONMENTS)} complete")


def check_java(settings: Settings) -> Finding:
    """Find the Java and the jars that Spark would start with."""
    home = java_home()
    version = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True)
    if version.returncode:
        raise SetupError(
            f"{home}/bin/java does not run: {version.stderr.strip()[:200]}; reinstall it, or unset JAVA_HOME"
        )
    found = f"Java {java_major(home)} at {home}, {len(jars())} jars"
    if appcds_archive(home) is None:
        return Finding(found, "no class archive for this Java, so Spark starts slower; run make setup", "warning")
    return Finding(found)


def check_storage(settings: Settings) -> Finding:
    """Write, read and remove a file in the storage root, and look at the room that is left."""
    if "://" in settings.lake_root:
        return Finding(f"{settings.lake_root}: judged by the Delta write")
    try:
        with _probe_folder(settings) as folder:
            (folder / "probe").write_bytes(b"marketlake")
            if (folder / "probe").read_bytes() != b"marketlake":
                raise UnavailableError(f"{folder} gives back other bytes than were written; check the disk")
        free = shutil.disk_usage(settings.lake_root).free
    except OSError as error:
        raise UnavailableError(
            f"{settings.lake_root} cannot be written: {error.strerror}; mend that, or choose another MARKETLAKE_HOME"
        ) from None
    found = f"{settings.lake_root} can be written, {free / _GIB:.1f} GiB free"
    if free < ROOM_WANTED_BYTES:
        advice = f"less than {ROOM_WANTED_BYTES // _GIB} GiB are free; make room, or move MARKETLAKE_HOME"
        return Finding(found, advice, "failed" if free < ROOM_NEEDED_BYTES else "warning")
    return Finding(found)


def check_delta(settings: Settings) -> Finding:
    """Let Spark write and read a small Delta table in the storage root, and read it without Spark."""
    import deltalake  # here: the other checks must run where a package is broken

    with _probe_folder(settings) as folder:
        table = str(folder / "table")
        command, environ = spark_submit_command(settings, "spark_jobs/maintenance/check_delta.py", [table])
        try:
            done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=SPARK_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            raise UnavailableError(
                f"Spark did not finish within {SPARK_TIMEOUT_SECONDS} s; is the machine busy?"
            ) from None
        if done.returncode:
            raise SetupError(f"Spark could not write and read Delta: {_last_error(done.stderr)}; run make setup")
        rows = deltalake.DeltaTable(table).to_pyarrow_table().num_rows
    return Finding(f"Spark wrote and read a table, {rows} rows are read without Spark")


def check_database(settings: Settings) -> Finding:
    """Start the embedded server where it is used, connect, and make a temporary table."""
    import psycopg

    address = ensure_running(settings)
    try:
        with psycopg.connect(address.url, connect_timeout=10) as connection:
            connection.execute("create temporary table doctor as select 1 as answer")
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        raise UnavailableError(
            f"{address!r} does not do its work: {str(error).strip()}; check database.host, port, username and password"
        ) from None
    kind = "embedded" if settings.database.embedded else "external"
    if version < 15:
        return Finding(f"Postgres {version} ({kind})", "marketlake needs Postgres 15 or newer", "failed")
    return Finding(f"Postgres {version} ({kind}) at {address.host}:{address.port}, database {address.database}")


class _Exchange:
    """Two checks of one exchange that share one question for its clock."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._reading: ClockReading | None = None

    def check_reach(self, settings: Settings) -> Finding:
        """Ask the exchange for its time, without retries."""
        section = settings.exchanges[self._exchange]
        entry = exchange_named(self._exchange)
        with http_client(timeout_seconds=EXCHANGE_TIMEOUT_SECONDS) as http:
            requester = Requester(
                http,
                exchange=self._exchange,
                scopes=entry.capabilities.weight_scopes,
                budget=LocalBudget(),
                clock=OffsetClock(),
                retry_base_seconds=0,
                deadline_seconds=EXCHANGE_TIMEOUT_SECONDS,
            )
            logging.disable(logging.WARNING)  # each retry would say the same; the last error is enough
            try:
                self._reading = measure_clock(entry.client(section, requester))
            except MarketlakeError as error:
                raise UnavailableError(
                    f"{section.rest_url} does not answer: {str(error).splitlines()[0]}; check the network, point "
                    f"exchanges.{self._exchange}.rest_url elsewhere, or use the sandbox: marketlake sandbox --help"
                ) from None
            finally:
                logging.disable(logging.NOTSET)
        return Finding(f"{section.rest_url} answers; its market is {self._reading.market}")

    def check_clock(self, settings: Settings) -> Finding:
        """Compare this machine's clock with the exchange's."""
        if self._reading is None:
            return Finding("not compared, the exchange does not answer", status="warning")
        seconds = self._reading.deviation.total_seconds()
        found = f"this machine's clock is {seconds:+.2f} s off"
        if settings.clock.source == "exchange":
            return Finding(f"{found}; runs follow the exchange's clock")
        advice = "synchronise the time (chrony, timedatectl), or set clock.source to exchange"
        if abs(seconds) > settings.clock.stop_seconds:
            return Finding(found, f"more than {settings.clock.stop_seconds:g} s stops a run; {advice}", "failed")
        if abs(seconds) > settings.clock.warn_seconds:
            return Finding(found, advice, "warning")
        return Finding(found)


@contextmanager
def _probe_folder(settings: Settings) -> Iterator[Path]:
    folder = Path(settings.lake_root) / f".doctor-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def _requirement_names(requirements: Path) -> list[str]:
    return re.findall(r"^([a-z][a-z0-9._-]*)", requirements.read_text(encoding="utf-8"), re.MULTILINE)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if re.search(r"error|exception", line, re.IGNORECASE)]
    return (lines or text.strip().splitlines() or ["it said nothing"])[-1][:300]
