"""Tests for the lock files: what is installed is named by exact version and hash, and by no address."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from marketlake.java import locked_jars

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = (".", "spark_jobs", "dbt_project", "tests", "tests/dags", "tests/bench/freqtrade", "scripts")
MAVEN = {"m": "http://maven.apache.org/POM/4.0.0"}


def lock_text(folder: str) -> str:
    return (REPOSITORY / folder / "requirements.lock").read_text(encoding="utf-8")


def pins(text: str) -> dict[str, str]:
    """Return the pinned version of each distribution; those that differ by platform are joined."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE):
        found[name] = ",".join(sorted({version, *found.get(name, version).split(",")}))
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_pin_has_a_hash(folder: str) -> None:
    entries = re.findall(r"^[a-z0-9._-]+==.*(?:\n {4}--hash=.*)*", lock_text(folder), re.MULTILINE)

    assert entries
    assert [entry.split(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("file", ["requirements.lock", "requirements.txt"])
def test_no_lock_names_an_address(folder: str, file: str) -> None:
    text = (REPOSITORY / folder / file).read_text(encoding="utf-8")

    assert re.findall(r"https?://|file:|--index-url|--extra-index-url|--find-links|--trusted-host| @ ", text) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_lock_holds_each_requirement_as_it_is_pinned(folder: str) -> None:
    wanted = (REPOSITORY / folder / "requirements.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([A-Za-z][A-Za-z0-9._-]*)(?:\[[\w,]+\])?(?:==(\S+))?", wanted, re.MULTILINE)
    locked = pins(lock_text(folder))

    assert {name.lower(): version for name, version in names if version}.items() <= locked.items()
    assert {name.lower().replace("_", "-") for name, _ in names} <= locked.keys()


@pytest.mark.parametrize(("above", "below"), [("tests", "spark_jobs"), ("tests/dags", ".")])
def test_what_two_environments_share_has_one_version(above: str, below: str) -> None:
    one, other = pins(lock_text(above)), pins(lock_text(below))

    assert {name: (one[name], other[name]) for name in one.keys() & other.keys() if one[name] != other[name]} == {}


def test_airflow_environment_holds_no_part_of_the_other_environments() -> None:
    assert (
        pins(lock_text(".")).keys() & {"pyspark", "pyspark-client", "ccxt", "great-expectations", "dbt-core"} == set()
    )


def test_pom_names_the_jars_of_the_lock_and_excludes_what_they_depend_on() -> None:
    project = ElementTree.parse(REPOSITORY / "spark_jobs" / "pom.xml").getroot()
    dependencies = project.findall("m:dependencies/m:dependency", MAVEN)

    named = [
        tuple(d.findtext(f"m:{key}", None, MAVEN) for key in ("groupId", "artifactId", "version")) for d in dependencies
    ]
    assert named == [(jar.group, jar.artifact, jar.version) for jar in locked_jars()]
    assert all(d.findtext("m:exclusions/m:exclusion/m:groupId", None, MAVEN) == "*" for d in dependencies)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in locked_jars())
