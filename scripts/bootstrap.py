"""Build marketlake's environments from the lock files: what `make setup` runs.

Needs Python 3.11 or 3.12 and its standard library, nothing else. Each environment carries a stamp, written last, of the
lock and the interpreter it was made from: a complete one is left alone, one that was interrupted is built anew.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ENVIRONMENTS_FOLDER = REPOSITORY / ".venv"
CACHE_FOLDER = REPOSITORY / ".cache"
SUPPORTED_PYTHONS = ((3, 11), (3, 12))
STAMP = ".complete"


@dataclass(frozen=True)
class Environment:
    """One virtual environment: its lock file, and the environment that it is laid over, if any."""

    name: str
    lock: str
    purpose: str
    over: str | None = None

    @property
    def folder(self) -> Path:
        return ENVIRONMENTS_FOLDER / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"


TO_RUN = (
    Environment("spark", "spark_jobs/requirements.lock", "the library, Spark, the embedded Postgres"),
    Environment("airflow", "requirements.lock", "Airflow"),
    Environment("dbt", "dbt_project/requirements.lock", "dbt"),
)
TO_TEST = (
    Environment("dev", "tests/requirements.lock", "checks and tests"),
    Environment(
        "dags", "tests/dags/requirements.lock", "tests of the DAGs, over Airflow's environment", over="airflow"
    ),
)
TO_COMPARE = (Environment("freqtrade", "tests/bench/freqtrade/requirements.lock", "a peer to measure beside"),)
WITH_SPARK = ("spark", "dev")


class SetupError(Exception):
    """Set-up cannot go on; the text says why and what to do."""


def check_python(version: tuple[int, int]) -> None:
    """Raise SetupError unless this is a Python that the locks were made for."""
    if version not in SUPPORTED_PYTHONS:
        wanted = " or ".join(".".join(map(str, known)) for known in SUPPORTED_PYTHONS)
        raise SetupError(
            f"marketlake needs Python {wanted}; {sys.executable} is {'.'.join(map(str, version))}.\n"
            "Name another one: make setup PYTHON=/path/to/python3.12"
        )


def stamp_of(environment: Environment) -> str:
    """Return what a complete environment's stamp says: the lock's hash, the interpreter, the machine, the place."""
    digest = hashlib.sha256((REPOSITORY / environment.lock).read_bytes()).hexdigest()
    return f"{environment.lock} {digest} {platform.python_version()} {platform.machine()} {environment.folder}\n"


def is_complete(environment: Environment) -> bool:
    """Return whether the environment was finished from today's lock by this interpreter."""
    try:
        stamp = (environment.folder / STAMP).read_text(encoding="utf-8")
    except OSError:
        return False
    return stamp == stamp_of(environment) and environment.python.exists()


def build(environment: Environment, uv: Path) -> None:
    """Make the environment from nothing and stamp it; whatever was in its folder is removed first."""
    if environment.folder.exists():
        (environment.folder / STAMP).unlink(missing_ok=True)
        shutil.rmtree(environment.folder)
    ENVIRONMENTS_FOLDER.mkdir(exist_ok=True)
    run([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, environment.folder])
    lock = REPOSITORY / environment.lock
    run([uv, "pip", "sync", "--require-hashes", "--python", environment.python, lock])
    if environment.over:
        _lay_over(environment, ENVIRONMENTS_FOLDER / environment.over)
    aside = environment.folder / f"{STAMP}.new"
    aside.write_text(stamp_of(environment), encoding="utf-8")
    aside.rename(environment.folder / STAMP)


def install_uv() -> Path:
    """Return the pinned installer, in an environment of its own; hashes are checked by pip."""
    tools = Environment("tools", "scripts/requirements.lock", "the installer")
    uv = tools.folder / "bin" / "uv"
    if is_complete(tools) and uv.exists():
        return uv
    shutil.rmtree(tools.folder, ignore_errors=True)
    tools.folder.parent.mkdir(exist_ok=True)
    try:
        run([sys.executable, "-m", "venv", tools.folder])
    except SetupError:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        raise SetupError(
            f"{sys.executable} cannot make environments; on Debian or Ubuntu: apt install {name}"
        ) from None
    pip = [tools.python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "install", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", REPOSITORY / tools.lock])
    (tools.folder / STAMP).write_text(stamp_of(tools), encoding="utf-8")
    return uv


def run(command: Sequence[str | Path]) -> None:
    """Run a command with its messages on our standard error; raise SetupError when it fails."""
    words = [str(word) for word in command]
    process = subprocess.Popen(
        words,
        env=_environ(),
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith(" + "):  # hundreds of packages by name help nobody
            print(f"    {line}", end="", file=sys.stderr, flush=True)
    if process.wait():
        raise SetupError(
            f"this failed with exit code {process.returncode}: {' '.join(words)}\n"
            "Its own words are above. Without network, or with a full disk, mend that and repeat: "
            "what is complete is kept."
        )


def set_up(environments: Sequence[Environment], *, with_archive: bool) -> None:
    """Bring the environments, the jars and the class archive up to date; say what is done and how long it took."""
    with step("installer"):
        uv = install_uv()
    for environment in environments:
        if is_complete(environment):
            say(f"  .venv/{environment.name} is up to date")
            continue
        with step(f".venv/{environment.name}: {environment.purpose}"):
            build(environment, uv)
    with step("jars"):
        run([TO_RUN[0].python, REPOSITORY / "scripts" / "fetch_jars.py"])
    for environment in environments if with_archive else ():
        if environment.name in WITH_SPARK:
            with step(f"class archive of .venv/{environment.name}, with which Spark starts faster"):
                run([environment.python, REPOSITORY / "scripts" / "archive_classes.py"])
    (ENVIRONMENTS_FOLDER / ".python").write_text(sys.executable + "\n", encoding="utf-8")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say that a step begins, and at its end how long it took."""
    say(f"  {what} …")
    started = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - started:.0f} s")


def say(line: str) -> None:
    """Write one line of progress."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def only_one() -> Iterator[None]:
    """Wait until no other set-up works in this checkout."""
    CACHE_FOLDER.mkdir(exist_ok=True)
    with (CACHE_FOLDER / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("  another set-up is at work in this checkout; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lay_over(environment: Environment, below: Path) -> None:
    """Let the environment import what the one below it holds, by a path file relative to its own packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment.folder / "lib" / version / "site-packages"
    target = os.path.relpath(below / "lib" / version / "site-packages", packages)
    (packages / "_over.pth").write_text(target + "\n", encoding="utf-8")


def _environ() -> dict[str, str]:
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "PYTHONPATH": f"{REPOSITORY / 'plugins'}:{REPOSITORY}"}
    environ.setdefault("UV_HTTP_TIMEOUT", "120")
    environ.pop("VIRTUAL_ENV", None)
    # Who told pip of a mirror of the package index means every installer.
    for pip_name, uv_name in (("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), ("PIP_EXTRA_INDEX_URL", "UV_INDEX")):
        if environ.get(pip_name):
            environ.setdefault(uv_name, environ[pip_name])
    return environ


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with-tests", action="store_true", help="also what the checks and tests need")
    parser.add_argument("--with-peers", action="store_true", help="also what the benchmark measures beside")
    parser.add_argument(
        "--without-class-archive", action="store_true", help="save 30 s and 170 MB; Spark starts slower"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    started = time.monotonic()
    try:
        check_python(sys.version_info[:2])
        with only_one():
            say(f"marketlake: set-up with Python {platform.python_version()}")
            environments = (
                *TO_RUN,
                *(TO_TEST if args.with_tests else ()),
                *(TO_COMPARE if args.with_peers else ()),
            )
            set_up(environments, with_archive=not args.without_class_archive)
    except SetupError as error:
        say(f"set-up stopped: {error}")
        return 1
    except KeyboardInterrupt:
        say("set-up interrupted; repeat it to go on")
        return 130
    say(f"set-up complete in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
