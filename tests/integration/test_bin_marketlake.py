"""Tests for `bin/marketlake`, the launcher."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).resolve().parents[2] / "bin" / "marketlake"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose library's Python prints what it was started with."""
    python = tmp_path / "a checkout" / ".venv" / "spark" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "$PYTHONPATH" "$TZ" "$MARKETLAKE_HOME"\n')
    python.chmod(0o755)
    root = python.parents[3]
    (root / ".venv" / "spark" / ".complete").write_text("")
    (root / "bin").mkdir()
    shutil.copy(LAUNCHER, root / "bin" / "marketlake")
    return root


def start(command: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin"}
    return subprocess.run([command, *arguments], cwd=cwd, env=environ, capture_output=True, text=True)


def test_library_is_started_with_the_arguments_as_they_are(checkout: Path, tmp_path: Path) -> None:
    done = start(checkout / "bin" / "marketlake", "sql", "select 1  as one", "", cwd=tmp_path)

    root = checkout.resolve()
    assert done.stdout.split("\n")[:-1] == [
        *("-m", "marketlake.cli", "sql", "select 1  as one", ""),
        *(f"{root}/plugins:{root}", "UTC", f"{root}/data"),
    ]


def test_launcher_works_through_links(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "first").symlink_to(checkout / "bin" / "marketlake")
    (tmp_path / "second").symlink_to("first")

    assert start(tmp_path / "second", "doctor", cwd=tmp_path).stdout.split("\n")[:3] == [
        "-m",
        "marketlake.cli",
        "doctor",
    ]


@pytest.mark.parametrize("missing", [".complete", "bin/python"])
def test_missing_or_half_made_environment_says_what_to_run(checkout: Path, tmp_path: Path, missing: str) -> None:
    (checkout / ".venv" / "spark" / missing).unlink()

    done = start(checkout / "bin" / "marketlake", "plan", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr == (
        f"marketlake: the library's environment is not set up; run: make -C '{checkout.resolve()}' setup\n"
    )
