"""Make the archive of loaded classes (AppCDS) that lets the JVM of a Spark job start faster.

Nothing depends on it: where it cannot be made, this says so and set-up goes on.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from marketlake.errors import MarketlakeError
from marketlake.java import appcds_archive_path, java_home
from marketlake.settings import load_settings
from marketlake.spark_submit import driver_java_options, spark_submit_command

JOB = "scripts/class_archive_job.py"
TIMEOUT_SECONDS = 300


def make_archive(archive: Path, home: Path) -> str | None:
    """Run a small job that loads what the real ones load; return what went wrong, or None."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    aside = archive.with_suffix(".new")
    with tempfile.TemporaryDirectory(prefix="marketlake-archive-") as folder:
        settings = load_settings(environ={"MARKETLAKE_HOME": folder})
        command, environ = spark_submit_command(settings, JOB, [folder])
        options = [*driver_java_options(home), f"-XX:ArchiveClassesAtExit={aside}", "-Xlog:cds=off,cds+dynamic=off"]
        command[command.index("--driver-java-options") + 1] = shlex.join(options)
        try:
            done = subprocess.run(
                command, env=environ, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"the job took longer than {TIMEOUT_SECONDS} s"
    if done.returncode or not aside.is_file():
        return done.stderr.strip()[-500:] or "the JVM wrote no archive"
    aside.rename(archive)
    return None


def ensure_base_archive(home: Path) -> None:
    """Let the JVM archive its own classes, on which ours build; the runtime from PyPI comes without that archive."""
    java = home / "bin" / "java"
    if subprocess.run([java, "-Xshare:on", "-version"], capture_output=True).returncode:
        subprocess.run([java, "-Xshare:dump"], capture_output=True)


def main() -> int:
    try:
        home = java_home()
        archive = appcds_archive_path(home)
        if archive.is_file():
            return 0
        ensure_base_archive(home)
        problem = make_archive(archive, home)
    except MarketlakeError as error:
        problem = str(error)
    if problem:
        print(f"    left out, Spark works without it: {problem}", file=sys.stderr)
        return 0
    for stale in archive.parent.glob(f"{archive.name.rpartition('-')[0]}-*.jsa"):
        if stale != archive:
            stale.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
