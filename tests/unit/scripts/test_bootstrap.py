"""Tests for ``scripts.bootstrap``."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts import bootstrap
from scripts.bootstrap import Environment, SetupError

A_LOCK = "scripts/requirements.lock"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with one lock file."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / A_LOCK).write_text("uv==0.9.30 --hash=sha256:aa\n")
    for name, folder in (("REPOSITORY", ""), ("ENVIRONMENTS_FOLDER", ".venv"), ("CACHE_FOLDER", ".cache")):
        monkeypatch.setattr(bootstrap, name, tmp_path / folder)
    return tmp_path


def install(environment: Environment) -> None:
    (environment.folder / "bin").mkdir(parents=True)
    environment.python.write_text("")
    (environment.folder / bootstrap.STAMP).write_text(bootstrap.stamp_of(environment))


def test_environment_is_complete_until_its_lock_changes(checkout: Path) -> None:
    environment = Environment("spark", A_LOCK, "")
    assert not bootstrap.is_complete(environment)

    install(environment)
    assert bootstrap.is_complete(environment)

    (checkout / A_LOCK).write_text("uv==0.9.31 --hash=sha256:bb\n")
    assert not bootstrap.is_complete(environment)


def test_environment_that_was_moved_or_lost_its_python_is_not_complete(checkout: Path) -> None:
    environment = Environment("spark", A_LOCK, "")
    install(environment)
    environment.folder.rename(environment.folder.with_name("airflow"))

    assert not bootstrap.is_complete(dataclasses.replace(environment, name="airflow"))
    other = Environment("dbt", A_LOCK, "")
    install(other)
    other.python.unlink()
    assert not bootstrap.is_complete(other)


def test_interrupted_build_leaves_no_stamp_and_is_built_anew(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment("spark", A_LOCK, "")
    install(environment)
    (checkout / A_LOCK).write_text("changed\n")
    commands: list[list[str]] = []

    def interrupted(command: list[object]) -> None:
        commands.append([str(word) for word in command])
        environment.folder.mkdir(exist_ok=True)
        (environment.folder / "half").write_text("")
        if len(commands) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.build(environment, Path("uv"))
    assert not bootstrap.is_complete(environment)

    commands.clear()
    monkeypatch.setattr(bootstrap, "run", lambda command: install_from(environment, command))
    bootstrap.build(environment, Path("uv"))
    assert bootstrap.is_complete(environment)
    assert not (environment.folder / "half").exists()


def install_from(environment: Environment, command: list[object]) -> None:
    if "sync" in map(str, command):
        assert "--require-hashes" in map(str, command)
        (environment.folder / "bin").mkdir(parents=True)
        environment.python.write_text("")


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_python_without_locks_is_refused_with_what_to_do(version: tuple[int, int]) -> None:
    with pytest.raises(SetupError, match=rf"(?s)needs Python 3.11 or 3.12; .* is 3.{version[1]}.*make setup PYTHON="):
        bootstrap.check_python(version)


@pytest.mark.parametrize("version", [(3, 11), (3, 12)])
def test_python_with_locks_is_taken(version: tuple[int, int]) -> None:
    bootstrap.check_python(version)


def test_command_that_fails_is_named_with_its_exit_code(checkout: Path) -> None:
    with pytest.raises(SetupError, match=r"failed with exit code 3: .*(?s:.)*repeat: what is complete is kept"):
        bootstrap.run([sys.executable, "-c", "import sys; sys.exit(3)"])


def test_user_sees_the_reason_and_no_traceback_when_set_up_fails(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network() -> Path:
        raise SetupError("this failed with exit code 2: uv")

    monkeypatch.setattr(bootstrap, "install_uv", no_network)

    assert bootstrap.main([]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "set-up stopped: this failed with exit code 2: uv"


def test_second_set_up_waits_for_the_first(checkout: Path) -> None:
    order: list[str] = []

    def first() -> None:
        with bootstrap.only_one():
            order.append("first begins")
            time.sleep(0.3)
            order.append("first ends")

    thread = threading.Thread(target=first)
    thread.start()
    while not order:
        time.sleep(0.01)
    with bootstrap.only_one():
        order.append("second begins")
    thread.join()

    assert order == ["first begins", "first ends", "second begins"]


def test_pip_mirror_of_the_user_reaches_the_installer(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    seen = checkout / "seen"

    bootstrap.run(["sh", "-c", f'printf %s "$UV_DEFAULT_INDEX" > {seen}'])

    assert seen.read_text() == "https://mirror.example/simple"


def test_environment_laid_over_another_imports_what_that_holds(checkout: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("airflow", "dags"):
        (checkout / ".venv" / name / "lib" / version / "site-packages").mkdir(parents=True)
    (checkout / ".venv" / "airflow" / "lib" / version / "site-packages" / "from_below.py").write_text("VALUE = 7\n")

    bootstrap._lay_over(Environment("dags", A_LOCK, "", over="airflow"), checkout / ".venv" / "airflow")

    packages = checkout / ".venv" / "dags" / "lib" / version / "site-packages"
    program = f"import site; site.addsitedir({str(packages)!r}); import from_below; print(from_below.VALUE)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "7\n"
