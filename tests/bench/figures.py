"""Figures of one benchmark run: ratios within the run, as JSON for programs and a table for people."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import psutil
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parents[2]
RESULT = REPOSITORY / "build" / "bench.json"
PACKAGES = ("pyspark", "delta-spark", "deltalake", "polars", "duckdb", "psycopg", "great-expectations")


@dataclass(frozen=True)
class Figure:
    """One line of the benchmark: our figure over the peer's in the same run; `target` may be unknown."""

    name: str
    ratio: float
    target: float | None
    better: Literal["higher", "lower"]
    detail: str = ""

    @property
    def verdict(self) -> str:
        """Say whether the target is met, in a word."""
        if self.target is None:
            return ""
        is_met = self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target
        return "met" if is_met else "missed"


def seconds_of(work: Callable[[], object], *, times: int = 1) -> float:
    """Return the median wall seconds of doing the work so many times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken)


def median(values: Sequence[float]) -> float:
    """Return the middle one of the values."""
    return sorted(values)[len(values) // 2]


def write_figures(figures: list[Figure], *, path: Path = RESULT) -> None:
    """Write `{name, ratio, target, better}` for each figure, aside first, then by rename."""
    kept = [{name: asdict(figure)[name] for name in ("name", "ratio", "target", "better")} for figure in figures]
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".partial")
    aside.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    aside.replace(path)


def print_figures(figures: list[Figure], *, console: Console | None = None) -> None:
    """Print the table, with what it was measured on."""
    table = Table(title="marketlake beside its peers, in one run", caption=_measured_on(), caption_justify="left")
    for heading in ("figure", "ratio", "target", "", "measured"):
        table.add_column(heading, justify="right" if heading in ("ratio", "target") else "left")
    for figure in figures:
        sign = {"higher": "≥", "lower": "≤"}[figure.better]
        target = "" if figure.target is None else f"{sign} {figure.target:g}"
        table.add_row(figure.name, f"{figure.ratio:.2f}", target, figure.verdict, figure.detail)
    (console or Console()).print(table)


def _measured_on() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{machine()}; commit {commit()}, Python {platform.python_version()}, {packages}"


def machine() -> str:
    """Return what the figures were measured on: usable cores and memory."""
    memory_gib = psutil.virtual_memory().total / (1 << 30)
    return f"{len(os.sched_getaffinity(0))} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"


def commit(repository: Path = REPOSITORY) -> str:
    """Return the commit that was measured, with `+changes` where the files differ from it."""
    name = _git(repository, "rev-parse", "--short", "HEAD") or "unknown"
    return f"{name}+changes" if _git(repository, "status", "--porcelain") else name


def _git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, text=True).stdout.strip()
