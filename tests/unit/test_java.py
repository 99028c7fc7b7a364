"""Tests for ``marketlake.java``."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from marketlake import java
from marketlake.errors import SetupError


def a_java(folder: Path, version: str, modules: str | None = None) -> Path:
    """Make a JAVA_HOME whose java prints its arguments, one a line."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (folder / "bin" / "java").chmod(0o755)
    (folder / "release").write_text(f'JAVA_VERSION="{version}"\n' + (f'MODULES="{modules}"\n' if modules else ""))
    return folder


@pytest.mark.parametrize("version", ["17.0.15", "21.0.2"])
def test_java_home_of_a_fitting_version_is_taken(tmp_path: Path, version: str) -> None:
    home = a_java(tmp_path / "java", version)

    assert java.java_home({"JAVA_HOME": str(home)}) == home


@pytest.mark.parametrize(("version", "major"), [("11.0.2", "11"), ("1.8.0_392", "1"), ("25.0.3", "25")])
def test_java_home_of_another_version_is_refused_by_name(tmp_path: Path, version: str, major: str) -> None:
    home = a_java(tmp_path / "java", version)

    with pytest.raises(SetupError, match=rf"JAVA_HOME={home} is Java {major}, and Spark needs Java 17 or 21; .*unset"):
        java.java_home({"JAVA_HOME": str(home)})


def test_java_home_without_a_java_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=f"JAVA_HOME={tmp_path} holds no Java"):
        java.java_home({"JAVA_HOME": str(tmp_path)})


def test_java_on_the_path_is_found_through_links(tmp_path: Path) -> None:
    home = a_java(tmp_path / "java", "21.0.2")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")

    assert java.java_home({"PATH": str(tmp_path / "bin")}) == home


def test_java_from_pypi_is_taken_where_the_path_has_another_version(tmp_path: Path) -> None:
    old = a_java(tmp_path / "java", "11.0.2")

    home = java.java_home({"PATH": str(old / "bin")})

    assert java.java_major(home) == 17
    asked = [home / "bin" / "java", "--add-modules=jdk.incubator.vector", "-version"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'version "17.' in done.stderr


def test_wrapper_drops_the_vector_module_in_both_spellings_and_keeps_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "CACHE_FOLDER", tmp_path / "cache")
    runtime = a_java(tmp_path / "it's a java", "17.0.9", modules="java.base java.se")
    home = java.java_home({"JAVA_HOME": str(runtime)})
    kept = ["-cp", "a b:c", "", "$HOME", "--add-opens=java.base/java.lang=ALL-UNNAMED", "Main", "it's"]

    one = [home / "bin" / "java", "--add-modules=jdk.incubator.vector", *kept]
    two = [home / "bin" / "java", *kept[:2], "--add-modules", "jdk.incubator.vector", *kept[2:]]

    assert home != runtime
    for command in (one, two):
        assert subprocess.run(command, capture_output=True, text=True).stdout.splitlines() == kept


def test_version_is_asked_of_java_itself_where_no_release_file_is(tmp_path: Path) -> None:
    home = a_java(tmp_path / "java", "17")
    (home / "release").unlink()
    (home / "bin" / "java").write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\" 2023-10-17' >&2\n")

    assert java.java_major(home) == 21


def test_missing_jar_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "JARS_FOLDER", tmp_path)

    with pytest.raises(SetupError, match=r"lacks delta-spark_.*\.jar.*run make setup"):
        java.jars()


def test_class_archive_of_another_java_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "CACHE_FOLDER", tmp_path)
    one, other = a_java(tmp_path / "one", "17.0.15"), a_java(tmp_path / "other", "17.0.16")
    java.appcds_archive_path(one).write_bytes(b"classes")

    assert java.appcds_archive(one) is not None
    assert java.appcds_archive(other) is None
    assert shlex.quote(str(java.appcds_archive_path(other))) == str(java.appcds_archive_path(other))
    assert os.listdir(tmp_path)
